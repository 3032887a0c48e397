"""A training step as a CUDA graph: one call of the driver instead of a hundred."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["StepGraph"]

Step = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
WARM_UP = 3  # steps before a capture: libraries choose their algorithms and take their memory


class StepGraph:
    """Runs a step that is the same every time: the first ones directly, then as a CUDA graph.

    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs. The step must not wait for
    the GPU, and all it changes (parameters, moments, running statistics) must stay where it is in
    memory.

    Arguments:
        step: Takes a batch and draws on the GPU, returns the loss's terms.
        generator: From which the step draws, if from any.
    """

    def __init__(self, step: Step, generator: torch.Generator | None = None) -> None:
        self._step = step
        self._generator = generator
        self._stream = torch.cuda.Stream()
        self._done = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, x: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """One step.

        Returns:
            The loss's terms, in memory of their own; they are there when the GPU is done.
        """
        if self._graph is None and self._done < WARM_UP:
            self._done += 1
            return self._aside(x, given)
        if self._graph is None:
            self._capture(x, given)
        assert self._graph is not None  # noqa: S101 (captured above)
        self._x.copy_(x)
        for name, value in given.items():
            self._given[name].copy_(value)
        self._graph.replay()
        return self._losses.clone()

    def _aside(self, x: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        """Takes a step on a stream of its own, which a capture needs for its warm-up."""
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            losses = self._step(x, given)
        here.wait_stream(self._stream)
        return losses

    def _capture(self, x: Tensor, given: Mapping[str, Tensor]) -> None:
        """Records the step without running it."""
        self._x = x.clone()
        self._given = {name: value.clone() for name, value in given.items()}
        graph = torch.cuda.CUDAGraph()
        if self._generator is not None:
            graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph, stream=self._stream):
            self._losses = self._step(self._x, self._given)
        self._graph = graph
