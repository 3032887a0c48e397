"""Updates of an optimiser, as a recorder writes them down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from comparisons.ports.expected.optimisers import OPTIMISERS
from pyvae.trace.program import Optimiser, OptimiserGroup, ProgramStep

PARAMETERS = {"fc.weight": (3, 4), "fc.bias": (4,)}


def recorded_updates(
    kind: str, settings: Mapping[str, Any], steps: int = 4, dtype: torch.dtype = torch.float64
) -> Iterator[tuple[ProgramStep, dict[str, NDArray]]]:
    """Lets one of PyTorch's optimisers do some steps; yields each, with its arrays."""
    generator = torch.Generator().manual_seed(3)

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, dtype=dtype, generator=generator)

    named = {name: torch.nn.Parameter(draw(shape)) for name, shape in PARAMETERS.items()}
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    optimiser = OPTIMISERS[kind](list(named.values()), **given)
    for number in range(1, steps + 1):
        arrays = {}
        for name, one in named.items():
            one.grad = draw(PARAMETERS[name])
            arrays[f"start/{name}"] = one.detach().clone().numpy()
            arrays[f"gradient/{name}"] = one.grad.clone().numpy()
        optimiser.step()
        for name, one in named.items():
            arrays[f"parameter/{name}"] = one.detach().clone().numpy()
            for key, value in optimiser.state[one].items():
                if value is not None:
                    arrays[f"state/{name}.{key}"] = torch.as_tensor(value).clone().numpy()
        group = {key: value for key, value in optimiser.param_groups[0].items() if key != "params"}
        said = {key: list(v) if isinstance(v, tuple) else v for key, v in group.items()}
        about = Optimiser("optimizer", kind, (OptimiserGroup(tuple(named), said),))
        yield ProgramStep(number, 0, about), arrays
