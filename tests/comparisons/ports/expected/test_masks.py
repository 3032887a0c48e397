import pytest
import torch
import torch.nn.functional as F

from comparisons.ports.expected.call import NotRecomputableError
from comparisons.ports.expected.masks import with_masks


def test_masks_are_used_in_their_order_and_none_is_drawn():
    state, x = torch.get_rng_state(), torch.ones(4)
    masks = [torch.tensor([1, 0, 1, 0]), torch.tensor([0, 0, 1, 1])]
    with with_masks(0.5, masks):
        first, second = F.dropout(x), F.dropout(x)
    assert first.tolist() == [2, 0, 2, 0]
    assert second.tolist() == [0, 0, 2, 2]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("masks", [[], [torch.ones(3)], [torch.ones(4), torch.ones(4)]])
def test_masks_that_do_not_fit_are_not_used(masks):
    with pytest.raises(NotRecomputableError), with_masks(0.5, masks):
        F.dropout(torch.ones(4))


def test_nothing_is_looked_for_where_nothing_is_dropped():
    with with_masks(0.0, [torch.ones(4)]):
        assert F.dropout(torch.ones(4), 0.0).tolist() == [1, 1, 1, 1]
