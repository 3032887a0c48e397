"""Without a GPU: CUDA's graphs, streams and captures are played by stand-ins that keep their rules.

A capture records and does not run; a replay runs what was recorded, on the memory it was recorded
with.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import torch

from pyvae.engines import pytorch as engine_module
from pyvae.engines.cuda_graph import WARM_UP, StepGraph
from pyvae.engines.data_parallel import Shares
from pyvae.engines.generators import TorchGenerator
from pyvae.engines.pytorch import PyTorchEngine


class Stream:
    def wait_stream(self, other):
        pass


class Graph:
    recording = None

    def __init__(self):
        self.generators, self.run = [], None

    def register_generator_state(self, generator):
        self.generators.append(generator)

    def replay(self):
        self.run()


@pytest.fixture
def cuda(monkeypatch):
    @contextmanager
    def capture(graph, stream):
        Graph.recording = graph
        yield
        Graph.recording = None

    monkeypatch.setattr("torch.cuda.Stream", Stream)
    monkeypatch.setattr("torch.cuda.current_stream", Stream)
    monkeypatch.setattr("torch.cuda.stream", lambda stream: nullcontext())
    monkeypatch.setattr("torch.cuda.CUDAGraph", Graph)
    monkeypatch.setattr("torch.cuda.graph", capture)


class Summing:
    """A step that adds to a parameter and returns what it stood at, from the memory it is given."""

    def __init__(self):
        self.parameter, self.ran = torch.zeros(()), 0

    def __call__(self, x, given):
        losses = torch.zeros(2)

        def run():
            self.ran += 1
            self.parameter += x.sum() * given["keep"].sum()
            losses.copy_(torch.stack([self.parameter, x.sum()]))

        if Graph.recording is not None:
            Graph.recording.run = run
        else:
            run()
        return losses


def test_replays_are_the_steps_themselves(cuda):
    plain, graphed = Summing(), Summing()
    graph = StepGraph(graphed)
    kept = []
    for step in range(WARM_UP + 5):
        x, given = torch.full((3,), float(step)), {"keep": torch.tensor([step, 1])}
        expected = plain(x, given)
        kept.append((expected, graph(x, given)))
        assert graphed.ran == step + 1  # each once, the one that was recorded too
    for expected, found in kept:  # no later step has written over an earlier one's losses
        assert torch.equal(expected, found)
    assert torch.equal(plain.parameter, graphed.parameter)


def test_a_generator_is_registered_before_the_capture(cuda, monkeypatch):
    source = torch.Generator()
    made = []
    monkeypatch.setattr("torch.cuda.CUDAGraph", lambda: made.append(Graph()) or made[-1])
    graph = StepGraph(Summing(), source)
    for _ in range(WARM_UP + 2):
        graph(torch.ones(1), {"keep": torch.ones(1)})
    assert [one.generators for one in made] == [[source]]


@pytest.mark.parametrize(
    ("rng", "adam", "processes", "expected"),
    [
        ("injected", "torch", 1, "without a generator"),
        ("torch", "torch", 1, "with its generator"),
        ("injected", "r-torch", 1, None),  # this Adam asks for a number on the host
        ("injected", "torch", 2, None),
    ],
)
def test_a_gpus_steps_are_a_graph_where_nothing_waits_for_the_host(
    monkeypatch, conv, settings, rng, adam, processes, expected
):
    made = []
    monkeypatch.setattr(engine_module, "StepGraph", lambda *given: made.append(given) or given)
    engine = PyTorchEngine("cpu", adam)
    run = settings(rng=rng)
    initial = conv.initial_parameters(run.seed, run.latent_dim) if rng == "injected" else None
    engine.start(conv, run, initial)
    assert not made  # on the CPU
    engine.device, engine.shares = torch.device("cuda"), Shares(0, processes)
    graph = engine._make_graph()
    if expected is None:
        assert graph is None
    elif expected == "without a generator":
        assert graph == (engine._step,)
    else:
        assert isinstance(engine.generator, TorchGenerator)
        assert graph == (engine._step, engine.generator.source)
