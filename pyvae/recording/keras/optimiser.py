"""A Keras optimiser as the recorder takes it: what it asks of one of PyTorch's.

Source: https://keras.io/api/optimizers/, Keras 3
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pyvae.errors import UserError
from pyvae.recording.keras.network import KerasNetwork

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
}  # fmt: skip
STATES = {**STATES, "adamw": STATES["adam"]}
# Of its configuration: what is no setting of the update, or said in another place
LEFT_OUT = {
    "name",
    "learning_rate",
    "ema_momentum",
    "ema_overwrite_frequency",
    "is_legacy_optimizer",
}
NONE_GIVEN = (None, False)


def is_keras_optimiser(given: object) -> bool:
    """Whether it is an optimiser of Keras."""
    keras = sys.modules.get("keras")
    return keras is not None and issubclass(type(given), keras.optimizers.Optimizer)


class KerasOptimiser:
    """An optimiser of Keras, with groups, state and hooks as PyTorch's have them.

    Arguments:
        optimiser: Keras' own.
        model: What it trains: an optimiser has no variables before its first update.
    """

    def __init__(self, optimiser: Any, model: KerasNetwork) -> None:
        self.optimiser = optimiser
        self.kind = f"keras_{type(optimiser).__name__.lower()}"
        self._model = model
        self._optimizer_step_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self.given: dict[Tensor, Tensor] = {}  # the gradients of the update that is being made

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """One group: all that it trains, with its settings as they are now."""
        return [{"params": [one.value for one in self._variables()], **self._settings()}]

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """What it keeps of each variable, and the number of updates."""
        one = self.optimiser
        if not one.built:
            return {}
        names = STATES.get(self.kind.removeprefix("keras_"), {})
        found: dict[Tensor, dict[str, Any]] = {}
        for at, variable in enumerate(one._trainable_variables):
            mine = found[variable.value] = {"step": int(one.iterations)}
            for attribute, name in names.items():
                kept = getattr(one, attribute, None)
                if kept and kept[at] is not None:
                    mine[name] = kept[at].value
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

    def _apply(self, grads: Iterable[Any], trainable_variables: Any = None) -> Any:
        grads = list(grads)
        own = None if trainable_variables is None else list(trainable_variables)
        variables = self._variables() if own is None else own
        self.given = {
            v.value: g for v, g in zip(variables, grads, strict=False) if isinstance(g, Tensor)
        }
        for hook in [*self._optimizer_step_pre_hooks.values()]:
            hook(self, (), {})
        done = type(self.optimiser).apply(self.optimiser, grads, own)
        for hook in [*self._optimizer_step_post_hooks.values()]:
            hook(self, (), {})
        self.given = {}
        return done

    def _variables(self) -> list[Any]:
        one = self.optimiser
        return list(
            one._trainable_variables if one.built else self._model.model.trainable_variables
        )

    def _settings(self) -> dict[str, Any]:
        """By PyTorch's names where it means the same by them."""
        one = self.optimiser
        given = {
            k: v for k, v in one.get_config().items() if k not in LEFT_OUT and v not in NONE_GIVEN
        }
        if "beta_1" in given:
            given["betas"] = [given.pop("beta_1"), given.pop("beta_2")]
        named = {"epsilon": "eps", "rho": "alpha"}
        rate = one.learning_rate
        lr = np.asarray(
            getattr(rate, "value", rate).detach().cpu()
        )  # float32: 0.001, as it is said
        return {"lr": float(str(lr)), **{named.get(key, key): v for key, v in given.items()}}


def as_optimiser(optimiser: Any, model: nn.Module) -> Any:
    """An optimiser of Keras as the recorder takes it; any other as it is.

    Raises:
        UserError: If it trains no model of Keras, or scales the loss.
    """
    if not is_keras_optimiser(optimiser):
        return optimiser
    if not isinstance(model, KerasNetwork):
        raise UserError(
            f"the optimizer is Keras' and the model is a {type(model).__name__}",
            "give the Keras model that it trains",
        )
    if hasattr(optimiser, "inner_optimizer"):
        raise UserError(
            "the optimizer scales the loss (LossScaleOptimizer)", "record it in float32"
        )
    return KerasOptimiser(optimiser, model)


def optimisers_of(model: nn.Module) -> list[Any]:
    """The optimisers of Keras that train a model: the one that it was compiled with, or those that
    the program holds and that were made for its variables, or for none yet."""
    import gc

    if not isinstance(model, KerasNetwork):
        return []
    own = getattr(model.model, "optimizer", None)
    if own is not None:
        return [own]
    mine = {id(one) for one in model.model.trainable_variables}
    return [
        one
        for one in gc.get_objects()
        if is_keras_optimiser(one)
        and (not one.built or any(id(v) in mine for v in one._trainable_variables))
    ]
