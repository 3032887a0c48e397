"""What is copied of a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recorded.programs import mlp
from torch import nn

from pyvae.recording.parameters import Parameters
from pyvae.recording.seen.values import Call
from pyvae.recording.step import Backward, Step


def test_gradients_count_within_backward_alone_and_add_up():
    model, backward = nn.Linear(2, 1), Backward(print)
    step = Step(lambda: Parameters(model, []), backward)
    step.open()
    out = model(torch.ones(3, 2))
    value = step.put_value(step.add(Call("fc", "linear")), "", out)
    torch.autograd.grad(out.sum(), model.weight, retain_graph=True)
    assert value.gradients == []
    backward.depth = 1
    out.sum().backward(retain_graph=True)
    (2 * out).sum().backward()
    assert value.gradient().tolist() == [[3], [3], [3]]
    step.copy_gradients()
    step.finish()
    assert step.arrays["gradient/fc"].tolist() == [[3], [3], [3]]
    assert step.arrays["gradient/weight"].tolist() == [[9, 9]]


def test_a_loss_that_is_no_number_is_weighted_as_backward_does():
    model = nn.Linear(1, 1)
    step = Step(lambda: Parameters(model, []), Backward(print))
    step.add_loss([torch.tensor([1.0, 2.0])], [torch.tensor([3.0, 0.5])])
    step.finish()
    assert step.arrays["loss/total"] == 4


def test_a_gradient_that_was_changed_is_what_was_given():
    program = mlp()
    model, optimizer = program.model, program.optimizer
    step = Step(lambda: Parameters(model, [optimizer]), Backward(print))
    step.open()
    model(torch.ones(2, 3)).sum().backward()
    step.copy_gradients()
    model[0].weight.grad.mul_(0.5)
    model[0].bias.grad.mul_(-0.0)
    step.before_update(optimizer, "optimizer", first=False, closure=False)
    given = {key for key in step.arrays if key.startswith("given/")}
    assert given == {"given/0.weight", "given/0.bias"}
    half = step.arrays["gradient/0.weight"] / 2
    assert np.array_equal(step.arrays["given/0.weight"], half)


@pytest.mark.slow
def test_tensors_are_let_go():
    import gc
    import weakref

    model = nn.Linear(2, 1)
    step = Step(lambda: Parameters(model, []), Backward(print))
    out = model(torch.ones(3, 2))
    step.put_value(step.add(Call("fc", "linear")), "", out)
    gone = weakref.ref(out)
    step.release()
    del out
    gc.collect()
    assert gone() is None
