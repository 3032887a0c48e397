"""A Keras optimiser as the recorder takes it: what it asks of one of PyTorch's.

Source: https://keras.io/api/optimizers/, Keras 3
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pyvae.errors import UserError
from pyvae.recording.keras.network import KerasNetwork, plain
from pyvae.recording.networks import Several
from pyvae.recording.seen.values import unseen

__all__ = ["KerasOptimiser", "as_optimiser", "is_keras_optimiser", "optimisers_of"]

# Keras' lists of what an optimiser keeps of each variable, and what they are: PyTorch's name where
# it is the same number
STATES: Mapping[str, Mapping[str, str]] = {
    "adam": {"_momentums": "exp_avg", "_velocities": "exp_avg_sq",
             "_velocity_hats": "max_exp_avg_sq"},
    "sgd": {"momentums": "velocity"},
    "rmsprop": {"_velocities": "square_avg", "_momentums": "velocity",
                "_average_gradients": "grad_avg"},
    "adagrad": {"_accumulators": "sum"},
    "adadelta": {"_accumulated_grads": "square_avg", "_accumulated_delta_vars": "acc_delta"},
}  # fmt: skip
STATES = {**STATES, "adamw": STATES["adam"]}
# Of its configuration: what is no setting of the update, or said in another place
LEFT_OUT = {
    "name", "learning_rate", "is_legacy_optimizer", "clipnorm", "clipvalue", "global_clipnorm",
}  # fmt: skip
CALLED_ALPHA = {"keras_rmsprop"}  # what Keras calls rho
OF_AVERAGE = {"ema_momentum", "ema_overwrite_frequency"}
NONE_GIVEN = (None, False)
# What a model is compiled with unless it is said
DEFAULT = "RMSprop"
DEFAULTS = {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False}


def is_keras_optimiser(given: object) -> bool:
    """Whether it is an optimiser of Keras."""
    keras = sys.modules.get("keras")
    return keras is not None and issubclass(type(given), keras.optimizers.Optimizer)


class KerasOptimiser:
    """An optimiser of Keras, with groups, state and hooks as PyTorch's have them.

    Arguments:
        optimiser: Keras' own.
        models: What it trains: an optimiser has no variables before its first update.
    """

    def __init__(self, optimiser: Any, models: Sequence[Any]) -> None:
        self.optimiser = optimiser
        self.kind = f"keras_{type(optimiser).__name__.lower()}"
        self._variables_now = [one for model in models for one in model.trainable_variables]
        self._optimizer_step_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self.given: dict[Tensor, Tensor] = {}  # the gradients of the update that is being made
        self._uncounted = 0  # updates that Keras has made, and not counted yet

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """One group: all that it trains, with its settings as they are now."""
        return [{"params": [plain(one) for one in self._variables()], **self._settings()}]

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """What it keeps of each variable, and the number of updates."""
        one = self.optimiser
        made = int(one.iterations) + self._uncounted if one.built else 0
        if not made:
            return {}
        names = STATES.get(self.kind.removeprefix("keras_"), {})
        found: dict[Tensor, dict[str, Any]] = {}
        for at, variable in enumerate(one._trainable_variables):
            mine = found[plain(variable)] = {"step": made}
            for attribute, name in names.items():
                kept = getattr(one, attribute, None)
                if kept and kept[at] is not None:
                    mine[name] = plain(kept[at])
        return found

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls a function before every update, as PyTorch's optimisers do."""
        return self._add(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls a function after every update, as PyTorch's optimisers do."""
        return self._add(self._optimizer_step_post_hooks, hook)

    def _add(self, hooks: OrderedDict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        vars(self.optimiser)["apply"] = self._apply  # which stays, and does nothing without hooks
        return handle

    def _apply(self, grads: Iterable[Any], trainable_variables: Any = None) -> None:
        grads = list(grads)
        own = None if trainable_variables is None else list(trainable_variables)
        if not (self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks):
            type(self.optimiser).apply(self.optimiser, grads, own)
            return
        if own is not None:
            self._variables_now = own
        variables = self._variables() if own is None else own
        self.given = {
            plain(v): g for v, g in zip(variables, grads, strict=False) if isinstance(g, Tensor)
        }
        self.given |= self._clipped(self.given)
        for hook in [*self._optimizer_step_pre_hooks.values()]:
            hook(self, (), {})
        if any(one.constraint is not None for one in variables):
            self._apply_and_constrain(grads, own)
        else:
            type(self.optimiser).apply(self.optimiser, grads, own)
            self._updated()
        self.given = {}

    def _updated(self) -> None:
        for hook in [*self._optimizer_step_post_hooks.values()]:
            hook(self, (), {})

    def _apply_and_constrain(self, grads: list[Any], own: list[Any] | None) -> None:
        """Applies gradients, so that the update ends before Keras constrains what it has updated: a
        port does that itself, after the optimiser's step."""
        one, name = self.optimiser, "_backend_apply_gradients"

        def update(*given: Any) -> None:
            getattr(type(one), name)(one, *given)
            self._uncounted = 1
            self._updated()
            self._uncounted = 0

        vars(one)[name] = update
        try:
            type(one).apply(one, grads, own)
        finally:
            del vars(one)[name]

    def _clipped(self, given: Mapping[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """The gradients as it clips them, before it makes its update of them."""
        one = self.optimiser
        if not any((one.clipnorm, one.global_clipnorm, one.clipvalue)) or not given:
            return {}
        with unseen():
            return dict(zip(given, one._clip_gradients([*given.values()]), strict=True))

    def _variables(self) -> list[Any]:
        one = self.optimiser
        return list(one._trainable_variables) if one.built else self._variables_now

    def _settings(self) -> dict[str, Any]:
        """By PyTorch's names where it means the same by them."""
        one = self.optimiser
        given = {
            k: v
            for k, v in one.get_config().items()
            if k not in LEFT_OUT and v not in NONE_GIVEN
            if one.use_ema or k not in OF_AVERAGE
        }
        if "beta_1" in given:
            given["betas"] = [given.pop("beta_1"), given.pop("beta_2")]
        named = {"epsilon": "eps", **({"rho": "alpha"} if self.kind in CALLED_ALPHA else {})}
        rate = one.learning_rate  # float32, whose 0.001 is said as it is
        rate = rate if isinstance(rate, Tensor) else plain(one._learning_rate)
        lr = np.asarray(rate.detach().cpu())
        if one.built:
            given["iterations"] = int(one.iterations)  # updates before this one
        return {"lr": float(str(lr)), **{named.get(key, key): v for key, v in given.items()}}


def as_optimiser(optimiser: Any, model: nn.Module) -> Any:
    """An optimiser of Keras as the recorder takes it; any other as it is.

    Raises:
        UserError: If it trains no model of Keras, or scales the loss.
    """
    if not is_keras_optimiser(optimiser):
        return optimiser
    several = model.values() if isinstance(model, Several) else [model]
    models = [one.model for one in several if isinstance(one, KerasNetwork)]
    if not models:
        raise UserError(
            f"the optimizer is Keras' and the model is a {type(model).__name__}",
            "give the Keras model that it trains",
        )
    if hasattr(optimiser, "inner_optimizer"):
        raise UserError(
            "the optimizer scales the loss (LossScaleOptimizer)", "record it in float32"
        )
    return KerasOptimiser(optimiser, models)


def optimisers_of(whole: Any, models: Iterable[Any]) -> list[Any]:
    """The optimisers of Keras that a model, or a part of it, was compiled with or holds.

    Arguments:
        whole: The model.
        models: All that there are.
    """
    mine = {id(one) for one in whole.trainable_variables}
    found: list[Any] = []
    for model in sorted(models, key=lambda one: len(one.variables)):
        if not any(id(one) in mine for one in model.trainable_variables):
            continue
        held = [one for one in vars(model).values() if is_keras_optimiser(one)]
        own = getattr(model, "optimizer", None)
        rest = [one for one in held if one is not own]
        if own is not None and not (rest and _is_default(model)):
            rest = [own, *rest]
        found += [one for one in rest if not any(one is other for other in found)]
    return found


def _is_default(model: Any) -> bool:
    """Whether a model was compiled without saying with which optimiser."""
    own = model.optimizer.get_config()
    mine = type(model.optimizer).__name__ == DEFAULT
    return mine and all(np.isclose(own.get(key), value) for key, value in DEFAULTS.items())
