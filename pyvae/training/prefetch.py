"""What later steps need, computed in threads while a GPU computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Prefetch"]

T = TypeVar("T")
THREADS = 4
DEPTH = 16  # steps


class Prefetch(Generic[T]):
    """Calls a function of the step for later steps, too, before they are asked for.

    The function may need nothing but the step, as draws do. NumPy draws without Python's lock: the
    threads run side by side.

    Arguments:
        function: Of the step.
        last: The last step of the run.

    Example:
        >>> with Prefetch(lambda step: step**2, last=9) as squares:
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
        """Ends the threads; calls that have not begun are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
