"""Images that are held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyvae.data.images import ImageData
from pyvae.data.split import hold_out
from pyvae.errors import UserError


@pytest.mark.parametrize("images", [2, 40, 41])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_image_is_in_one_part_and_keeps_its_place_and_label(images, share):
    pixels = torch.arange(images, dtype=torch.uint8)[:, None].expand(images, 784)
    data = ImageData("some", pixels, torch.arange(images), "here")
    held = round(share * images)
    if not 0 < held < images:
        with pytest.raises(UserError, match=f"of {images} images that is"):
            hold_out(data, share)
        return
    train, held_out, rows = hold_out(data, share, seed=3)
    assert held_out.pixels[:, 0].tolist() == rows.tolist() == sorted(rows)
    assert train.pixels[:, 0].tolist() == np.setdiff1d(np.arange(images), rows).tolist()
    assert len(held_out) == held
    for part in (train, held_out):
        assert part.labels is not None
        assert part.labels.tolist() == part.pixels[:, 0].tolist()
        assert (part.name, part.shape) == ("some", (1, 28, 28))


def test_the_choice_follows_from_seed_and_number_alone(digits):
    rows = hold_out(digits, 0.1, seed=1).rows
    other = ImageData("other", 255 - digits.pixels, None, "here")
    assert hold_out(other, 0.1, seed=1).rows.tolist() == rows.tolist()
    assert hold_out(digits, 0.1, seed=2).rows.tolist() != rows.tolist()
    assert digits.checksum != hold_out(digits, 0.1).train.checksum


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_is_between_0_and_1(digits, share):
    with pytest.raises(UserError, match="expected a share above 0 and below 1"):
        hold_out(digits, share)
