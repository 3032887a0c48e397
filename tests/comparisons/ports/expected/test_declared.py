import math

import pytest

from comparisons.ports.expected.declared import declared_differences, declared_settings
from pyvae.trace.program import ProgramStage


def words(layer, a, b, bases=(0, 0), roles=({}, {})):
    first, second = (
        ProgramStage("s", layer, ("x",), options, {role: role for role in held})
        for options, held in zip((a, b), roles, strict=True)
    )
    return declared_differences(first, second, bases)


@pytest.mark.parametrize(
    ("layer", "a", "b", "said"),
    [
        ("batch_norm2d", {"eps": 1e-5}, {"eps": 1e-3}, ["eps = 0.001 where it is 1e-05"]),
        ("batch_norm2d", {}, {"eps": 1e-3}, ["eps = 0.001 where it is 1e-05"]),
        ("batch_norm2d", {"momentum": None}, {}, ["momentum = 0.1 where it is none"]),
        ("conv2d", {"stride": 2}, {"stride": [2, 2]}, []),
        ("conv2d", {"stride": 2}, {"stride": [2, 1]}, ["stride = (2, 1) where it is 2"]),
        ("conv2d", {"padding": "same"}, {"padding": 1}, ["padding = 1 where it is same"]),
        ("max_pool2d", {"kernel_size": 2}, {"kernel_size": 2.0, "ceil_mode": False}, []),
        ("max_pool2d", {"kernel_size": 2, "stride": [2, 2]}, {"kernel_size": 2}, []),
        ("max_pool2d", {"kernel_size": 3, "stride": [2, 2]}, {"kernel_size": 3, "stride": None},
         ["stride = 3 where it is (2, 2)"]),
        ("linear", {"in_features": 3}, {"in_features": 4}, ["in_features = 4 where it is 3"]),
        ("linear", {"in_features": 3}, {}, []),  # nothing is known of it
        ("leaky_relu", {"negative_slope": 0.3}, {}, ["negative_slope = 0.01 where it is 0.3"]),
        ("gelu", {"approximate": "tanh"}, {}, ["approximate = none where it is tanh"]),
        ("cross_entropy_loss", {"reduction": 1}, {"reduction": "mean"}, []),
        ("cross_entropy_loss", {"reduction": 2}, {}, ["reduction = mean where it is sum"]),
        ("sum", {"dim": [1], "keepdim": True}, {"axis": [1]}, ["keepdim = false where it is true"]),
        ("masked_fill", {"value": -math.inf}, {"value": -1e9},
         ["value = -1000000000 where it is -inf"]),
        ("sub", {"self": 1}, {"other": 1}, ["sub(x, 1) where it is sub(1, x)"]),
        ("sub", {"self": 1}, {"self": 2}, ["input = 2 where it is 1"]),
        ("clamp", {"min": 0}, {"max": 0, "min": 0},
         ["clamp(x, min = 0, max = 0) where it is clamp(x, min = 0)"]),
        ("layer_of_mine", {"depth": 3, "wide": True}, {"depth": 4},
         ["depth = 4 where it is 3"]),
        ("to", {"dtype": "float32"}, {"dtype": "float64"}, ["dtype = float64 where it is float32"]),
        ("softmax", {"dim": 1, "dtype": "x"}, {"dim": 1, "dtype": "y"}, []),
    ],
)  # fmt: skip
def test_options_that_differ_are_said(layer, a, b, said):
    assert words(layer, a, b) == said


@pytest.mark.parametrize(
    ("option", "values", "bases", "said"),
    [
        ("padding_idx", (0, 1), (0, 1), []),
        (
            "padding_idx",
            (1, 1),
            (0, 1),
            ["padding_idx = 1 (counted from 1) where it is 1 (counted from 0)"],
        ),
        ("padding_idx", (1, 2), (0, 0), ["padding_idx = 2 where it is 1"]),
        ("ignore_index", (-100, -100), (0, 1), []),
        ("ignore_index", (3, 4), (0, 1), []),
    ],
)
def test_indices_are_held_together_in_each_language_s_base(option, values, bases, said):
    layer = "embedding" if option == "padding_idx" else "nll_loss"
    assert words(layer, {option: values[0]}, {option: values[1]}, bases) == said


@pytest.mark.parametrize(
    ("layer", "option", "a", "b", "same"),
    [
        ("index", "index", [":", "6:12"], [":", "6:"], True),
        ("index", "index", [":", ":6"], [":", "0:6:1"], True),
        ("index", "index", [-1], [4.0, ":"], True),
        ("index", "index", ["...", 2], [":", -10], True),
        ("index", "index", [None, ":", "1::2"], [None, "...", "1:12:2"], True),
        ("index", "index", ["tensor", [0, -1]], ["tensor", [0, 11]], True),
        ("index_put", "index", [":", "::2"], [":", [0, 2, 4, 6, 8, 10]], True),
        ("index", "index", [":", "6:11"], [":", "6:"], False),
        ("index", "index", ["tensor"], [0], False),
        ("index", "index", ["?"], ["?", ":"], False),
        ("index_put", "index", [":", "-3:"], [":", "9:"], True),
        ("softmax", "dim", -1, 1, True),
        ("softmax", "dim", -1, 0, False),
        ("unsqueeze", "dim", -1, 2, True),
        ("transpose", "dim0", -2, 0, True),
        ("sum", "dim", [-1, 0], [1, 0], True),
    ],
)
def test_places_and_axes_in_other_words_are_the_same(layer, option, a, b, same):
    """Of five rows and twelve columns."""
    first, second = (ProgramStage("s", layer, ("x",), {option: one}) for one in (a, b))
    assert bool(declared_differences(first, second, (0, 0), (5, 12))) is not same
    assert declared_differences(first, second)


@pytest.mark.parametrize("outer", [True, False])
def test_indices_that_are_taken_in_pairs_or_each_with_each(outer):
    options = {"index": ["tensor", [0, 1]]}
    stages = [ProgramStage("s", "index", ("x", "i"), options | {"outer": one})
              for one in (not outer, outer)]  # fmt: skip
    each, pairs = "each index with each other one", "the indices in pairs"
    new, known = (each, pairs) if outer else (pairs, each)
    assert declared_differences(*stages) == [f"it takes {new}, where it takes {known}"]
    one = ProgramStage("s", "index", ("x", "i"), {"index": [":", "tensor"]})
    assert not any("pairs" in words for words in declared_differences(stages[0], one))


def test_weights_that_one_side_lacks_are_said_once():
    both, one = ("weight", "bias"), ("weight",)
    assert words("linear", {}, {}, roles=(both, one)) == ["no bias where there is one"]
    assert words("linear", {}, {}, roles=(one, both)) == ["bias where there is none"]
    assert words("linear", {"bias": True}, {"bias": False}, roles=(both, one)) == [
        "bias = false where it is true"
    ]


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("relu", "leaky_relu", ["leaky_relu where it is relu"]),
        ("mine", "yours", ["yours where it is mine"]),
        ("bce_loss", "binary_cross_entropy", []),  # two names of the same
        ("batch_norm", "batch_norm2d", []),
    ],
)
def test_layers_that_differ_are_said(a, b, said):
    assert declared_differences(ProgramStage("s", a), ProgramStage("s", b)) == said


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (("sgd", {"lr": 0.1}), ("sgd", {"lr": 0.01}), ["lr = 0.01 where it is 0.1"]),
        (("sgd", {"lr": 0.1}), ("sgd", {"lr": 0.1, "momentum": 0.9}),
         ["momentum = 0.9 where it is 0"]),
        (("adam", {"betas": [0.9, 0.999]}), ("ignite_adam", {}), []),
        (("adam", {"foreach": None, "fused": True}), ("adam", {"initial_lr": 1}), []),
        (("adam", {}), ("adamw", {}), ["optimiser adamw where it is adam"]),
        (("mine", {"rate": 1}), ("mine", {"rate": 2}), ["rate = 2 where it is 1"]),
        (("asgd", {"lambda": 0.5}), ("asgd", {"lambd": 0.5}), []),
        (("sgd", {"maximize": False, "lr": 1}), ("sgd", {"lr": 1.0, "maximize": True}),
         ["maximize = true where it is false"]),
        (
            ("adam", {"lr": 0.001}), ("adam", {"lr": 0.001 * 0.9}),
            ["lr = 0.0009 where it is 0.001"],
        ),
        (  # as many digits as tell them apart
            ("adam", {"lr": 0.0009}), ("adam", {"lr": 0.001 * 0.9}),
            ["lr = 0.0009000000000000001 where it is 0.0009"],
        ),
    ],
)  # fmt: skip
def test_settings_that_differ_are_said(a, b, said):
    assert declared_settings(*a, *b) == said
