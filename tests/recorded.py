"""Records small PyTorch programs as traces of format 5, by hooks: for tests of what reads them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pyvae.trace.program import (
    Optimiser,
    OptimiserGroup,
    ProgramParameter,
    ProgramStage,
    ProgramStep,
    ProgramTrace,
)

FUNCTIONS = {
    "relu": "relu", "cat": "cat", "add": "add", "__add__": "add", "mul": "mul", "__mul__": "mul",
    "exp": "exp", "sum": "sum", "mean": "mean", "view": "view", "cross_entropy":
    "cross_entropy_loss", "mse_loss": "mse_loss", "__getitem__": "index",
}  # fmt: skip


class Recorder(TorchFunctionMode):
    """Watches one model and its optimiser; `step(loss)` stands for backward and update."""

    def __init__(self, model: nn.Module, optimiser: torch.optim.Optimizer, folder: Path, **about):
        super().__init__()
        self.model, self.optimiser, self.folder = model, optimiser, folder
        self.trace = ProgramTrace(engine="pytorch", program="test", **about)
        named = [(n, p, "parameter") for n, p in model.named_parameters()]
        named += [(n, b, "buffer") for n, b in model.named_buffers()]
        self.tensors = {name: value for name, value, _ in named}
        self.trace.parameters = [
            ProgramParameter(n, tuple(v.shape), kind, v.requires_grad) for n, v, kind in named
        ]
        self.inside = False
        for path, module in model.named_modules():
            if not list(module.children()) and type(module).__module__.startswith("torch.nn"):
                module.register_forward_pre_hook(self._enter)
                module.register_forward_hook(lambda m, given, out, p=path: self._leave(p, m, given))
                module.register_forward_hook(
                    lambda m, given, out, p=path: self._module(p, m, given, out)
                )
        self._begin()

    def _begin(self) -> None:
        self.stages: list[ProgramStage] = []
        self.names = {id(value): name for name, value in self.tensors.items()}
        self.kept: dict[str, Tensor] = {}
        self.arrays = {f"start/{n}": v.detach().clone() for n, v in self.tensors.items()}

    def _enter(self, module, given) -> None:
        self.inside = True
        self.state = torch.get_rng_state()

    def _leave(self, path, module, given) -> None:
        self.inside = False

    def _module(self, path, module, given, out) -> None:
        layer = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(module).__name__).lower()
        layer = layer.replace("re_lu", "relu").replace("ge_lu", "gelu")
        wanted = [*inspect.signature(type(module)).parameters]
        options = {k: getattr(module, k) for k in wanted if hasattr(module, k)}
        options = {k: v for k, v in options.items() if k not in ("inplace", "device", "dtype")}
        options |= {"bias": module.bias is not None} if isinstance(
            getattr(module, "bias", None), Tensor) else {}  # fmt: skip
        roles = dict(module.named_parameters()) | dict(module.named_buffers())
        parameters = {role: self.names[id(value)] for role, value in roles.items()}
        self._stage(path, layer, given, out, options, parameters, module.training)

    def _stage(self, path, layer, given, out, options, parameters=(), training=True) -> None:
        name = self._free(path)
        inputs = [self._name(x) for x in given if isinstance(x, Tensor)]
        several = list(self._leaves(out, name))
        for value_name, value in several:
            self.names[id(value)] = value_name
            self.kept[value_name] = value
            self.arrays[f"forward/{value_name}"] = value.detach().clone()
            if value.requires_grad and value.grad_fn is not None:
                value.retain_grad()
        outputs = tuple(n for n, _ in several)
        stage = ProgramStage(name, layer, tuple(inputs), options, dict(parameters), outputs)
        self.stages.append(stage)
        if layer == "dropout":  # the same draw again, of ones
            with torch.random.fork_rng():
                torch.set_rng_state(self.state)
                mask = nn.functional.dropout(torch.ones_like(out), options["p"], training)
            self.arrays[f"draw/{name}"] = (mask != 0).to(torch.uint8)

    def _leaves(self, out: Any, name: str):
        if isinstance(out, Tensor):
            yield name, out
        else:
            for number, one in enumerate(out):
                yield from self._leaves(one, f"{name}.{number}")

    def _free(self, name: str) -> str:
        taken = {stage.name for stage in self.stages}
        count = 1
        while (name if count == 1 else f"{name}#{count}") in taken:
            count += 1
        return name if count == 1 else f"{name}#{count}"

    def _name(self, value: Tensor) -> str:
        if id(value) not in self.names:
            name = self._free("input")
            self.stages.append(ProgramStage(name, "input"))
            self.names[id(value)] = name
            self.kept[name] = value
            self.arrays[f"forward/{name}"] = value.detach().clone()
        return self.names[id(value)]

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        if name in FUNCTIONS and not self.inside and isinstance(out, Tensor):
            layer = FUNCTIONS[name]
            given = [x for a in args for x in (a if isinstance(a, list | tuple) else [a])]
            plain = [a for a in given if not isinstance(a, Tensor)]
            with torch._C.DisableTorchFunctionSubclass():
                self._stage(layer, layer, given, out, {"given": plain} | (kwargs or {}))
        return out

    def step(self, loss: Tensor, clip: float | None = None, zero_grad: bool = True) -> None:
        if zero_grad:
            self.optimiser.zero_grad()
        loss.backward()
        self.arrays["loss/total"] = loss.detach().double()
        for name, value in self.kept.items():
            if value.requires_grad and value.grad is not None:
                self.arrays[f"gradient/{name}"] = value.grad.clone()
        trained = {n: v for n, v in self.model.named_parameters() if v.grad is not None}
        self.arrays |= {f"gradient/{n}": v.grad.clone() for n, v in trained.items()}
        if clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), clip)
            self.arrays |= {f"given/{n}": v.grad.clone() for n, v in trained.items()}
        names = {id(value): name for name, value in self.model.named_parameters()}
        groups = tuple(
            OptimiserGroup(
                tuple(names[id(p)] for p in group["params"]),
                {k: list(v) if isinstance(v, tuple) else v for k, v in group.items()
                 if k not in ("params", "foreach", "fused", "capturable", "differentiable")},
            )
            for group in self.optimiser.param_groups
        )  # fmt: skip
        self.optimiser.step()
        for parameter, state in self.optimiser.state.items():
            for key, value in state.items():
                if value is not None:
                    self.arrays[f"state/{names[id(parameter)]}.{key}"] = torch.as_tensor(value)
        buffers = {n for n, _ in self.model.named_buffers()}
        for name, value in self.tensors.items():
            kind = "buffer" if name in buffers else "parameter"
            self.arrays[f"{kind}/{name}"] = value.detach().clone()
        kind = type(self.optimiser).__name__.lower()
        network = tuple(self.stages)
        if network not in self.trace.networks:
            self.trace.networks.append(network)
        about = ProgramStep(
            len(self.trace.steps) + 1,
            self.trace.networks.index(network),
            Optimiser("optimizer", kind, groups),
        )
        self.trace.save_step(self.folder, about, {k: v.numpy() for k, v in self.arrays.items()})
        self._begin()

    def save(self) -> ProgramTrace:
        self.trace.save(self.folder)
        return self.trace
