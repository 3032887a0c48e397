import numpy as np
import pytest
import torch
from recorded.one_stage import BOUNDS, randn, record_module
from scipy.special import expit, log_softmax, logsumexp
from torch import nn

from comparisons.ports.expected.recompute import recompute
from pyvae.trace.program import ProgramStage

PRECISIONS = pytest.mark.parametrize("dtype", BOUNDS, ids=["float64", "float32"])
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
CLASSES = torch.tensor([2, 0, 1, 1, 3])


@PRECISIONS
@REDUCTIONS
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("ignored", [-100, 1])
def test_cross_entropy_returns_what_pytorch_records(ignored, weighted, smoothing, reduction, dtype):
    weight = randn(4, dtype=dtype).exp() if weighted else None
    module = nn.CrossEntropyLoss(
        weight, ignore_index=ignored, reduction=reduction, label_smoothing=smoothing
    )
    for logits, target in [
        (randn(5, 4, dtype=dtype), CLASSES),
        (randn(4, dtype=dtype), torch.tensor(2)),
        (randn(1, 4, 5, dtype=dtype), CLASSES[None]),
    ]:
        found = record_module(module, "cross_entropy_loss", logits, target)
        assert found.residual() <= BOUNDS[dtype]
    if ignored == -100:
        chances = torch.softmax(randn(5, 4, dtype=dtype, seed=3), 1)
        found = record_module(module, "cross_entropy_loss", randn(5, 4, dtype=dtype), chances)
        assert found.residual() <= BOUNDS[dtype]


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("ignored", [None, 1])
def test_cross_entropy_is_its_formula_in_the_language_s_base(base, ignored):
    x = randn(5, 4).numpy()
    options = {} if ignored is None else {"ignore_index": ignored + base}
    stage = ProgramStage("l", "cross_entropy_loss", ("x", "t"), options)
    arrays = {"forward/x": x, "forward/t": CLASSES.numpy() + base}
    each = logsumexp(x, 1) - x[np.arange(5), CLASSES]
    taken = CLASSES.numpy() != ignored if ignored is not None else slice(None)
    by_hand = each[taken].mean()
    found = recompute(stage, arrays, base).outputs["l"]
    np.testing.assert_allclose(found, by_hand, rtol=1e-14)


def test_classes_of_an_image_given_as_doubles():
    """Base R has no integers of 64 bits."""
    x = randn(2, 4, 3, 3)
    target = torch.randint(0, 4, (2, 3, 3))
    recorded = record_module(nn.CrossEntropyLoss(), "cross_entropy_loss", x, target)
    arrays = {**recorded.arrays, "forward/x1": target.numpy() + 1.0}
    found = recompute(recorded.stage, arrays, 1)
    np.testing.assert_allclose(found.outputs["m"], recorded.arrays["forward/m"], rtol=1e-12)


@PRECISIONS
@REDUCTIONS
def test_negative_log_likelihood(reduction, dtype):
    x = torch.log_softmax(randn(5, 4, dtype=dtype), 1)
    module = nn.NLLLoss(randn(4, dtype=dtype).exp(), ignore_index=3, reduction=reduction)
    assert record_module(module, "nll_loss", x, CLASSES).residual() <= BOUNDS[dtype]


def distances(dtype):
    x, y = randn(4, 5, dtype=dtype), randn(4, 5, dtype=dtype, seed=2)
    p, t = torch.sigmoid(x), torch.sigmoid(y)
    sign = torch.where(y[:, 0] > 0, 1.0, -1.0).to(dtype)
    weight = t + 0.5
    return [
        (lambda r: nn.MSELoss(reduction=r), "mse_loss", (x, y)),
        (lambda r: nn.L1Loss(reduction=r), "l1_loss", (x, y)),
        (lambda r: nn.SmoothL1Loss(reduction=r, beta=0.4), "smooth_l1_loss", (x, y)),
        (lambda r: nn.HuberLoss(reduction=r, delta=0.4), "huber_loss", (x, y)),
        (lambda r: nn.BCELoss(weight, reduction=r), "bce_loss", (p, t)),
        (lambda r: nn.BCEWithLogitsLoss(weight, reduction=r, pos_weight=weight[0]),
         "bce_with_logits_loss", (x, t)),
        (lambda r: nn.KLDivLoss(reduction=r), "kl_div_loss", (p.log(), t)),
        (lambda r: nn.KLDivLoss(reduction=r, log_target=True), "kl_div_loss", (p.log(), t.log())),
        (lambda r: nn.PoissonNLLLoss(full=True, reduction=r), "poisson_nll_loss", (x, 3 * t)),
        (lambda r: nn.GaussianNLLLoss(full=True, reduction=r), "gaussian_nll_loss", (x, y, t)),
        (lambda r: nn.CosineEmbeddingLoss(0.2, reduction=r), "cosine_embedding_loss",
         (x, y, sign)),
        (lambda r: nn.MarginRankingLoss(0.2, reduction=r), "margin_ranking_loss",
         (x[:, 0], y[:, 0], sign)),
        (lambda r: nn.HingeEmbeddingLoss(0.7, reduction=r), "hinge_embedding_loss",
         (x[:, 0], sign)),
        (lambda r: nn.TripletMarginLoss(0.5, swap=True, reduction=r), "triplet_margin_loss",
         (x, y, p)),
        (lambda r: nn.SoftMarginLoss(reduction=r), "soft_margin_loss", (x[:, 0], sign.long())),
        (lambda r: nn.MultiMarginLoss(margin=0.5, reduction=r), "multi_margin_loss",
         (x, torch.tensor([0, 4, 2, 1]))),
    ]  # fmt: skip


@PRECISIONS
@REDUCTIONS
@pytest.mark.parametrize("at", range(len(distances(torch.float64))))
def test_losses_return_what_pytorch_records(at, reduction, dtype):
    make, layer, inputs = distances(dtype)[at]
    assert record_module(make(reduction), layer, *inputs).residual() <= BOUNDS[dtype]


def test_a_kl_divergence_by_image():
    x, t = torch.log_softmax(randn(4, 5), 1), torch.softmax(randn(4, 5, seed=2), 1)
    found = record_module(nn.KLDivLoss(reduction="batchmean"), "kl_div", x, t)
    assert found.residual() <= 1e-12
    by_hand = (t * (t.log() - x)).sum().item() / 4
    np.testing.assert_allclose(found.output(), by_hand, rtol=1e-13)


@pytest.mark.parametrize(("number", "name"), [(0, "none"), (1, "mean"), (2, "sum")])
def test_a_reduction_may_be_given_by_its_number(number, name):
    x, t = torch.sigmoid(randn(4)), torch.sigmoid(randn(4, seed=2))
    found = record_module(nn.BCELoss(reduction=name), "binary_cross_entropy", x, t,
                          options={"reduction": number})  # fmt: skip
    assert found.residual() <= 1e-12


def test_cross_entropies_are_their_formulas_in_numpy():
    x, t = randn(4, 3).numpy(), torch.sigmoid(randn(4, 3, seed=2)).numpy()
    arrays = {"forward/x": x, "forward/t": t, "forward/p": expit(x)}
    by_hand = -(t * np.log(expit(x)) + (1 - t) * np.log(expit(-x))).mean()
    for layer, of in (("bce_with_logits_loss", "x"), ("bce_loss", "p")):
        found = recompute(ProgramStage("l", layer, (of, "t")), arrays, 0).outputs["l"]
        np.testing.assert_allclose(found, by_hand, rtol=1e-13)
    stage = ProgramStage("l", "cross_entropy_loss", ("x", "t"), {"label_smoothing": 0.3})
    smooth = 0.7 * t + 0.3 / 3
    by_hand = -(smooth * log_softmax(x, 1)).sum(1).mean()
    np.testing.assert_allclose(recompute(stage, arrays, 0).outputs["l"], by_hand, rtol=1e-13)


def test_a_target_of_whole_numbers_is_taken_as_real_ones():
    arrays = {"forward/p": np.array([0.2, 0.7]), "forward/t": np.array([1, 0])}
    stage = ProgramStage("l", "binary_cross_entropy", ("p", "t"))
    by_hand = -(np.log(0.2) + np.log(0.3)) / 2
    np.testing.assert_allclose(recompute(stage, arrays, 0).outputs["l"], by_hand, rtol=1e-14)


@PRECISIONS
def test_similarities(dtype):
    x, y = randn(4, 5, dtype=dtype), randn(4, 5, dtype=dtype, seed=2)
    found = record_module(nn.CosineSimilarity(0), "cosine_similarity", x, y)
    assert found.residual() <= BOUNDS[dtype]
    options = {"p": 3, "keepdim": True}
    module = nn.PairwiseDistance(3, keepdim=True)
    found = record_module(module, "pairwise_distance", x, y, options=options)
    assert found.residual() <= BOUNDS[dtype]


@PRECISIONS
@REDUCTIONS
def test_several_labels(reduction, dtype):
    x, t = randn(4, 5, dtype=dtype), (randn(4, 5, seed=2) > 0).to(dtype)
    module = nn.MultiLabelSoftMarginLoss(randn(5, dtype=dtype).exp(), reduction=reduction)
    found = record_module(module, "multi_label_soft_margin_loss", x, t)
    assert found.residual() <= BOUNDS[dtype]
