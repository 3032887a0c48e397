"""Which of a checkpoint's dicts are its weights."""

from __future__ import annotations

import pytest
import torch

from pyvae.errors import UserError
from pyvae.weights.tree import choose_state

A, B = torch.zeros(2), torch.ones(3)
OPTIMISER = {"state": {0: {"exp_avg": A}}, "param_groups": [{"lr": 0.1}]}


def test_a_state_dict_is_taken_as_it_is():
    state = choose_state("k", {"b": B, "a": A, "epoch": 3}, None, "x")
    assert (list(state.tensors), state.left_out) == (["b", "a"], ("epoch",))


def test_the_only_state_dict_is_found_beside_an_optimizer():
    tree = {"epoch": 3, "nets": {"model": {"a": A}}, "optimizer": OPTIMISER}
    state = choose_state("k", tree, None, "x")
    assert state.tensors == {"a": A}
    assert state.left_out == ("epoch", "optimizer")


def test_of_several_one_has_to_be_named():
    tree = {"model": {"a": A}, "ema": {"a": B}}
    with pytest.raises(UserError, match=r"'x' holds 2 state dicts: model, ema. Choose one with"):
        choose_state("k", tree, None, "x")
    assert choose_state("k", tree, "ema", "x").tensors == {"a": B}
    with pytest.raises(UserError, match="no state dict 'best': expected model, ema"):
        choose_state("k", tree, "best", "x")


@pytest.mark.parametrize("tree", [{}, OPTIMISER, {"a": 1}, None, [A], "text"])
def test_what_holds_none_is_refused(tree):
    with pytest.raises(UserError, match=r"'x' holds no state dict. Save one"):
        choose_state("k", tree, None, "x")
