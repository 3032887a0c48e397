from __future__ import annotations

import pytest

from pyvae.cli.options.image_set import ImageSet
from pyvae.errors import UserError


@pytest.mark.parametrize(
    ("text", "rows"),
    [("1", [0]), ("3,1-2", [2, 0, 1]), ("2,2", [1, 1]), ("all", [0, 1, 2, 3]), (" 4 ", [3])],
)
def test_images_are_taken_in_the_order_in_which_they_were_written(text, rows):
    assert ImageSet.parse(text).rows(4) == rows


@pytest.mark.parametrize("text", ["0", "none", "", "3-1", "x"])
def test_what_is_no_set_names_the_option(text):
    with pytest.raises(UserError, match=r"--images '.*': expected images such as 7 or 1-100"):
        ImageSet.parse(text)


def test_images_that_are_not_there_are_the_users_error():
    with pytest.raises(UserError, match="image 999999999: expected images from 1 to 4"):
        ImageSet.parse("1,2-999999999").rows(4)
