"""Sets of images as a user writes them: `1-100`, or `3,7-9`, or `all`."""

from __future__ import annotations

from typing import ClassVar

from pyvae.cli.options.step_set import StepSet
from pyvae.errors import UserError

__all__ = ["ImageSet"]


class ImageSet(StepSet):
    """Some of the images, counted from 1, in the order in which they were written.

    Example:
        >>> ImageSet.parse("3,1-2").rows(5)
        [2, 0, 1]
    """

    option: ClassVar[str] = "--images"
    expected: ClassVar[str] = "images such as 7 or 1-100 or 3,7-9, or all"
    may_be_empty: ClassVar[bool] = False

    def rows(self, images: int) -> list[int]:
        """Returns the rows of these images, counted from 0.

        Arguments:
            images: How many there are.

        Raises:
            UserError: If there are fewer.
        """
        if self.everything:
            return list(range(images))
        last = max(last for _, last in self.ranges)
        if last > images:
            raise UserError(f"--images names image {last}", expected=f"images from 1 to {images}")
        return [row for first, last in self.ranges for row in range(first - 1, last)]
