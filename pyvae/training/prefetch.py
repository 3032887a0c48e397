"""Work of later steps, done in threads while a GPU computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")
THREADS = 4
DEPTH = 16  # steps


class Ahead(Generic[T]):
    """A function of the step, called before it is asked for.

    For functions that need nothing but the step, as draws do. NumPy draws without Python's lock,
    so that threads do run side by side.

    Arguments:
        function: Of the step.
        last: The last step that will be asked for.

    Example:
        >>> with Ahead(lambda step: step**2, last=9) as squares:
        ...     [squares(step) for step in range(4)]
        [0, 1, 4, 9]
    """

    def __init__(self, function: Callable[[int], T], last: int) -> None:
        self._function = function
        self._last = last
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="draws")
        self._coming: dict[int, Future[T]] = {}

    def __call__(self, step: int) -> T:
        for later in range(step, min(step + DEPTH, self._last) + 1):
            if later not in self._coming:
                self._coming[later] = self._pool.submit(self._function, later)
        for passed in [other for other in self._coming if other < step]:
            del self._coming[passed]
        if step in self._coming:
            return self._coming.pop(step).result()
        return self._function(step)

    def close(self) -> None:
        """Ends the threads; what has not begun is given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
