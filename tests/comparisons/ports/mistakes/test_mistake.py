"""How a mistake is declared, and the call that it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from comparisons.ports.expected.call import bind
from comparisons.ports.expected.table import LAYERS
from comparisons.ports.mistakes.mistake import ANY, Call, find_mistakes, mistake, mistakes_of
from pyvae.trace.program import ProgramStage


def called(layer: str, inputs: list[Tensor], roles: dict[str, Tensor], **options) -> Call:
    names = [f"x{i}" for i in range(len(inputs))]
    stage = ProgramStage("it", layer, tuple(names), options, {role: role for role in roles})
    tensors = dict(zip(names, inputs, strict=True)) | roles
    context = {"index_base": 0, "draw": None, "updated": {}, "machine_eps": 1e-16, "recorded": None}
    return Call(layer, bind(LAYERS[layer], stage, tensors, **context))


@pytest.fixture
def linear():
    torch.manual_seed(1)
    roles = {"weight": torch.randn(4, 3), "bias": torch.randn(4)}
    return called("linear", [torch.randn(5, 3)], roles, in_features=3, out_features=4, bias=True)


def test_a_call_is_right_until_something_is_changed(linear):
    (x,) = linear.inputs
    w, b = linear["weight"], linear["bias"]
    assert torch.allclose(linear(), x @ w.T + b)
    assert torch.allclose(linear(x + 1), (x + 1) @ w.T + b)
    assert torch.allclose(linear(bias=None), x @ w.T)
    assert torch.allclose(linear(2 * x, weight=w + 1), 2 * x @ (w + 1).T + b)
    assert torch.allclose(linear(), x @ w.T + b)  # nothing was changed for good


def test_what_a_layer_lacks_is_a_key_error(linear):
    for attempt in (lambda: linear["running_mean"], lambda: linear(eps=1.0)):
        with pytest.raises(KeyError):
            attempt()
    assert linear.get("running_mean") is None


def test_options_have_their_defaults_and_buffers_what_they_are_after_the_call():
    roles = {"running_mean": torch.zeros(3), "running_var": torch.ones(3)}
    x = torch.randn(8, 3)
    call = called("batch_norm1d", [x], roles, eps=1e-3, momentum=0.1)
    assert call.training
    assert (call.options["eps"], call.options["momentum"]) == (1e-3, 0.1)
    assert "updated" not in call.options
    call(momentum=0.5)
    assert torch.allclose(call.updated["running_mean"], 0.5 * x.mean(0))
    y = call(training=False)
    assert torch.allclose(y, x / (1 + 1e-3) ** 0.5)
    assert call.updated == {}


def test_inputs_of_a_function_that_takes_any_number():
    one, two = torch.ones(2, 1), torch.zeros(2, 3)
    call = called("cat", [one, two], {}, dim=1)
    assert len(call.inputs) == 2
    assert torch.equal(call(one + 1), torch.cat([one + 1, two], 1))


def test_a_mistake_of_no_layer_is_refused():
    with pytest.raises(ValueError, match="no layer of the table: conv4d"):
        mistake(("linear", "conv4d"), "of nothing")


def test_what_is_declared_elsewhere_is_not_tried():
    @mistake("linear", "of a test")
    def of_a_test(call):
        return call()

    assert all(one.function is not of_a_test for one in find_mistakes())


def test_every_declaration_is_found_and_has_a_layer_and_words():
    found = find_mistakes()
    assert len({(one.function.__module__, one.name) for one in found}) == len(found) > 20
    for one in found:
        assert one.layers == (ANY,) or set(one.layers) <= LAYERS.keys()
        assert one.words == one.words.strip().rstrip(".")
    own = [ANY not in one.layers for one in mistakes_of("linear")]
    assert any(own)
    assert not all(own)
    assert own == sorted(own, reverse=True)
