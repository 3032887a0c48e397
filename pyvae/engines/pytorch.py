"""The engine that computes in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from pyvae.engines.abilities import Abilities
from pyvae.engines.adam import ADAMS, Adam, in_order_of
from pyvae.engines.cuda_graph import StepGraph
from pyvae.engines.data_parallel import ALONE, Shares
from pyvae.engines.devices import choose_device
from pyvae.engines.engine import DivergedError
from pyvae.engines.generators import Generator, TorchGenerator, make_generator
from pyvae.engines.precision import Precision, channels_last
from pyvae.errors import UserError, choose
from pyvae.model.draws import Draw, Normal
from pyvae.model.kernels.choice import KERNELS, fast_kernels
from pyvae.model.objectives import OBJECTIVES, Losses
from pyvae.model.recipe import Recipe
from pyvae.model.settings import Settings
from pyvae.model.stages import Probe, Stage

__all__ = ["PyTorchEngine"]


class PyTorchEngine:
    """Trains in PyTorch, on a CPU or a GPU.

    A CPU's steps of large networks are a third faster after
    `pyvae.engines.allocator.keep_freed_memory()`, which the command line calls: it changes the
    whole process, so no engine does it by itself.

    Arguments:
        device: `auto` (CUDA where it is), `cpu` or `cuda`.
        adam: Whose order of operations Adam has: `torch` (`torch.optim.Adam`) or `r-torch`
            (`pyvae.engines.adam.RTorchAdam`).
        precision: Of matrix products and convolutions, one of `pyvae.engines.precision.PRECISIONS`.
        shares: What this process computes of each batch; by default all of it.
        kernels: `fast`, those of `pyvae.model.kernels` that round otherwise than PyTorch's among
            them, or `torch`: every bit is PyTorch's, as a comparison bit by bit needs it. Double
            precision and a recipe that is `exact` have PyTorch's with either. With fast ones a step
            that a probe watches may have other last bits: it takes layers one by one that are
            otherwise computed as one.

    Raises:
        UserError: If CUDA is asked for and absent, or there is no such Adam, precision or kernels.
    """

    name = "pytorch"
    abilities: ClassVar[Abilities] = Abilities(
        title="PyTorch",
        language="Python",
        rng=TorchGenerator.name,
        any_rng=True,
        arithmetic="LibTorch",
        adams=tuple(ADAMS),
        any_recipe=True,
        options=("device", "adam", "precision", "kernels"),
    )

    @classmethod
    def check_available(cls) -> None:
        """PyTorch always is."""

    def __init__(
        self,
        device: str = "auto",
        adam: str = "torch",
        precision: str = "full",
        shares: Shares = ALONE,
        kernels: str = "fast",
    ) -> None:
        choose("adam", adam, ADAMS)
        choose("kernels", kernels, KERNELS)
        self.device = choose_device(device)
        self.adam = adam
        self.precision = Precision(precision, self.device)
        self.shares = shares
        self.kernels = kernels

    def start(
        self, recipe: Recipe, settings: Settings, parameters: Mapping[str, Tensor] | None
    ) -> None:
        self.settings = settings
        self.dtype = settings.torch_dtype
        precision = Precision(self.precision.name, self.device, self.dtype)
        self.objective = OBJECTIVES[settings.objective]
        self.hyper = settings.hyper
        self.recipe = recipe
        single = self.dtype == torch.float32  # double precision is there to be compared
        self._fast = self.kernels == "fast" and single and not recipe.exact
        self.spec = recipe.draws(settings.latent_dim, **settings.hyper)
        self.generator: Generator | None = None
        if parameters is None:
            self.generator = make_generator(settings.rng, settings.seed, self.device)
            parameters = self.generator.initial_parameters(
                recipe, settings.latent_dim, **settings.hyper
            )
        # its own initialisers are not used: they would only move the global generator
        with torch.random.fork_rng(devices=[]):
            network = recipe.network(settings.latent_dim, **settings.hyper)
            self.network = network.to(self.device, self.dtype)
        self.network.load_state_dict(parameters)
        if self.device.type == "cuda":
            # cuDNN's tensor cores want channels last
            channels_last(self.network)
        precision.prepare(self.network)
        self._buffers = list(self.network.buffers())
        self._parallel = self.shares.parallel(self.network)
        self.optimizer = self._make_optimizer()
        self._steps = 0
        self._graph = self._make_graph()

    def _make_optimizer(self) -> Any:
        parameters, rate = list(self.network.parameters()), self.settings.learning_rate
        if self.recipe.optimizer is None:
            optimizer = ADAMS[self.adam](parameters, lr=rate)
            if isinstance(optimizer, Adam):
                optimizer.fused = self._fast
            return optimizer
        if self.adam != "torch":
            raise UserError(
                f"--adam {self.adam}: recipe {self.recipe.name} has an optimiser of its own",
                "leave out --adam",
            )
        return self.recipe.optimizer(parameters, rate)

    def _make_graph(self) -> StepGraph | None:
        """Of steps on a GPU that do not wait for the host, and are the same every time."""
        if self.recipe.optimizer is not None or self.objective.schedule is not None:
            return None
        if self.device.type != "cuda" or self.adam != "torch" or self.shares.several:
            return None
        if self.generator is None:
            return StepGraph(self._step)
        if isinstance(self.generator, TorchGenerator):
            return StepGraph(self._step, self.generator.source)
        return None  # it draws on the host

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What a probe sees; a network that no stages describe can be trained all the same."""
        return self.recipe.stages_for(self.settings)

    def batch_order(self, images: int) -> NDArray[np.int64]:
        return self._own.batch_order(images)

    @property
    def _own(self) -> Generator:
        if self.generator is None:
            raise ValueError("draws are injected in this run")
        return self.generator

    def step(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, probe: Probe | None = None
    ) -> Tensor:
        if draws is None and self.generator is None:
            raise ValueError("draws are injected in this run")
        x, given = x.to(self.device), self._tensors(draws or {})
        if probe is None and self._graph is not None:
            return self._graph(x, given)
        return self._step(x, given, probe)

    def _step(self, x: Tensor, given: Mapping[str, Tensor], probe: Probe | None = None) -> Tensor:
        if self.generator is not None:
            own = self._own.step(len(x), self.spec, self.settings.dtype)
            if probe is not None:
                probe.update({f"draw/{name}": _array(draw) for name, draw in own.items()})
            given = self._tensors(own) | dict(given)
        weight = self.shares.weight(len(x), self.objective.mean)
        x, given = x[self.shares.rows(len(x))], self.shares.of(given)
        self.network.train()
        self.optimizer.zero_grad()
        watched = nullcontext() if probe is None else self._watch(x, probe)
        with self._undone_if_diverged(), watched as seen:
            if seen is not None:
                seen |= {s.name: given[s.draw or ""] for s in self.stages if _is_given(s)}
            losses = self._losses(x if seen is None else seen["input"], x, given)
            if seen is not None:
                seen |= losses
            # of a GPU it is asked at the end of the epoch: nothing waits for it before
            if self.device.type == "cpu" and not math.isfinite(losses["total"].item()):
                raise DivergedError
            (losses["total"] * weight if weight != 1 else losses["total"]).backward()
            if self.recipe.clip is not None:
                clip_grad_norm_(self.network.parameters(), self.recipe.clip)
            self.optimizer.step()
            self._steps += 1
        terms = torch.stack([losses[name] for name in self.objective.terms]).detach()
        return self.shares.total(terms * weight if weight != 1 else terms)

    def _losses(self, images: Tensor, x: Tensor, given: Mapping[str, Tensor]) -> Losses:
        """The objective's terms; `images` are x, or what a probe sees of them."""
        with fast_kernels(self._fast):
            with self.precision.computing():
                output = self._parallel(images, given)
            try:
                hyper = self.objective.hyper_at(self._steps + 1, self.hyper)
                return self.objective(x, self.precision.finish(output), hyper)
            except RuntimeError as error:
                if "between 0 and 1" not in str(error):
                    raise
                # binary_cross_entropy refuses probabilities that are not a number.
                raise DivergedError from error

    @contextmanager
    def _undone_if_diverged(self) -> Iterator[None]:
        """Puts running statistics back, which move before the loss is known."""
        kept = [buffer.clone() for buffer in self._buffers] if self.device.type == "cpu" else []
        try:
            yield
        except DivergedError:
            for buffer, value in zip(self._buffers, kept, strict=False):
                buffer.copy_(value)
            raise

    @contextmanager
    def _watch(self, x: Tensor, probe: Probe) -> Iterator[dict[str, Tensor]]:
        """Collects what every stage returns in one step, by the stage's name, and at the end
        puts it into a probe, with its gradients."""
        seen = {"input": x.detach().requires_grad_()}
        probe.update({f"start/{name}": value for name, value in self.parameters().items()})

        def keep(names: list[str]) -> Callable[[nn.Module, object, Tensor], None]:
            def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
                output.retain_grad()
                seen[names.pop(0)] = output

            return hook

        uses: dict[str, list[str]] = {}  # of each module, in order
        for stage in self.stages:
            if stage.layer != "input" and not stage.is_term:
                uses.setdefault(stage.path, []).append(stage.name)
        hooks = [
            self.network.get_submodule(path).register_forward_hook(keep(names))
            for path, names in uses.items()
        ]
        try:
            yield seen
            probe.update({key: value for key, value in self.state().items() if key != "step"})
        finally:
            for hook in hooks:
                hook.remove()
            terms = {stage.name for stage in self.stages if stage.is_term}
            for name, value in seen.items():
                probe[f"forward/{name}"] = _array(value)
                if name not in terms and value.grad is not None:
                    probe[f"gradient/{name}"] = _array(value.grad)
            for name, buffer in self.network.named_buffers():  # of a step that failed, too
                probe[f"buffer/{name}"] = _array(buffer).copy()
            for name, parameter in self.network.named_parameters():
                if parameter.grad is not None:
                    probe[f"gradient/{name}"] = _array(parameter.grad).copy()

    def state(self) -> Probe:
        state = {"step": np.array(self._steps)}
        for name, parameter in self.network.named_parameters():
            state[f"parameter/{name}"] = _array(parameter).copy()
            kept = self.optimizer.state.get(parameter) or {}
            if self.recipe.optimizer is None:
                zeros = torch.zeros_like(parameter)
                state[f"moment1/{name}"] = _array(kept.get("exp_avg", zeros)).copy()
                state[f"moment2/{name}"] = _array(kept.get("exp_avg_sq", zeros)).copy()
                continue
            for key, value in kept.items():
                if value is not None:  # a buffer that this optimiser does not use
                    state[f"optimizer.{key}/{name}"] = np.array(_array(value))
        for name, buffer in self.network.named_buffers():
            state[f"buffer/{name}"] = _array(buffer).copy()
        return state

    @torch.no_grad()
    def restore(self, state: Mapping[str, NDArray]) -> None:
        def tensor(key: str) -> Tensor:
            return torch.from_numpy(np.array(state[key])).to(self.device, self.dtype)

        # in place where it can be: a CUDA graph knows where things are
        self._steps = int(state["step"])
        for name, parameter in self.network.named_parameters():
            parameter.copy_(tensor(f"parameter/{name}"))
        if self.recipe.optimizer is None:
            self._restore_adam(tensor)
        else:
            self._restore_optimizer(state)
        for name, buffer in self.network.named_buffers():
            buffer.copy_(tensor(f"buffer/{name}"))

    def _restore_adam(self, tensor: Callable[[str], Tensor]) -> None:
        counting = self.device if isinstance(self.optimizer, Adam) else torch.device("cpu")
        for name, parameter in self.network.named_parameters():
            kept = self.optimizer.state.get(parameter)
            new = {
                "step": torch.tensor(float(self._steps), device=counting),
                "exp_avg": in_order_of(parameter, tensor(f"moment1/{name}")),
                "exp_avg_sq": in_order_of(parameter, tensor(f"moment2/{name}")),
            }
            if kept:
                for key, value in new.items():
                    kept[key].copy_(value)
            else:
                self.optimizer.state[parameter] = new

    def _restore_optimizer(self, state: Mapping[str, NDArray]) -> None:
        """Of a recipe's own optimiser. Its counts of steps stay on the host, where PyTorch's
        optimisers have them."""
        for name, parameter in self.network.named_parameters():
            kept = {}
            for key, value in state.items():
                kind, _, of = key.partition("/")
                if of == name and kind.startswith("optimizer."):
                    tensor = torch.from_numpy(np.array(value))
                    if tensor.ndim:
                        tensor = in_order_of(parameter, tensor.to(self.device))
                    kept[kind.removeprefix("optimizer.")] = tensor
            if kept:
                self.optimizer.state[parameter] = kept
            else:
                self.optimizer.state.pop(parameter, None)

    def generator_state(self) -> NDArray | None:
        return None if self.generator is None else self.generator.state()

    def restore_generator(self, state: NDArray) -> None:
        self._own.restore(state)

    @torch.no_grad()
    def latent_means(
        self, x: Tensor, draws: Mapping[str, NDArray] | None, training: bool
    ) -> NDArray:
        self.network.train(training)
        if training and self.generator is not None:
            needed = {name: kind for name, kind in self.spec.items() if not _is_noise(kind)}
            given = self._tensors(self._own.step(len(x), needed, self.settings.dtype))
        elif training and draws is None:
            raise ValueError("draws are injected in this run")
        else:
            given = self._tensors(draws if training and draws else {})
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        mu, _ = self.network.posterior(x.to(self.device), given)
        for name, buffer in self.network.named_buffers():  # a look must not change the model
            buffer.copy_(kept[name])
        return mu.cpu().numpy()

    def latents(self, images: int) -> NDArray:
        return self._own.normal((images, self.settings.latent_dim), self.settings.dtype)

    @torch.no_grad()
    def decode(self, z: NDArray) -> NDArray:
        self.network.eval()
        return self.network.decode(self._tensors({"z": z})["z"]).cpu().numpy()

    def parameters(self) -> dict[str, NDArray]:
        return {
            name: value.cpu().numpy().copy() for name, value in self.network.state_dict().items()
        }

    def environment(self) -> dict[str, str]:
        about = {
            "torch": torch.__version__,
            "device": self.device.type,
            "threads": str(torch.get_num_threads()),
            "adam": self.adam,
        }
        if self.device.type == "cuda":
            about["gpu"] = torch.cuda.get_device_name(self.device)
        if self.precision.name != "full":
            about["precision"] = self.precision.name
        if self.kernels != "torch":  # which is what runs had before there was a choice
            about["kernels"] = self.kernels
        if self.shares.several:
            about["processes"] = str(self.shares.number)
        return about

    def _tensors(self, draws: Mapping[str, NDArray | Tensor]) -> dict[str, Tensor]:
        return {name: self._tensor(draw) for name, draw in draws.items()}

    def _tensor(self, value: NDArray | Tensor) -> Tensor:
        tensor = torch.as_tensor(value)
        if self.device.type == "cuda" and not tensor.is_cuda:
            return tensor.pin_memory().to(self.device, non_blocking=True)  # nobody waits for it
        return tensor


def _is_given(stage: Stage) -> bool:
    return stage.layer == "input" and stage.draw is not None


def _is_noise(kind: Draw) -> bool:
    """Whether latent means do without it: the noise of z."""
    return isinstance(kind, Normal)


def _array(value: Tensor | NDArray) -> NDArray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value
