"""Networks that a program uses and does not train: a teacher that follows the model, a target
network, a frozen backbone. Of them a trace has the parameters and buffers that they compute with,
each in the steps in which it is no longer what it was."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import FrameType
from typing import Any
from weakref import ref

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyvae.recording.seen.naming import Names
from pyvae.recording.seen.values import Call, tensors_in, to_array, version_of

__all__ = ["Untrained"]

NETWORK = "network"  # the name of one that no variable holds
OWN = ("torch", "pyvae.recording")  # whose variables are not the program's
MOST_NAME = 60
# functions that, while they take statistics of the batch, only update those that they are given
NORMS = {"batch_norm": 5, "instance_norm": 5}  # the place of the argument that says so
# identity, version, the sum of what lies in memory, and a few numbers
Bits = tuple[int, int, int, list[Any]] | None
FEW = 8


@dataclass
class _Network:
    """What is known of a network.

    Attributes:
        name: Its name in the trace.
        module: It itself, if it is still in use.
        shapes: Of its tensors, by name.
        used: The names of those that some function took.
        seen: What they were when it was last called, as far as it can be told quickly.
        pending: Those that are not as they were last written, with their digests and bits.
        bits: Of those that are, what tells that they still are: a large network that is frozen is
            not copied in each step.
    """

    name: str
    module: ref[nn.Module]
    shapes: dict[str, torch.Size]
    used: set[str] = field(default_factory=set)
    seen: tuple[Any, ...] = ()
    pending: dict[str, tuple[NDArray, bytes, Bits]] = field(default_factory=dict)
    bits: dict[str, Bits] = field(default_factory=dict)


class Untrained:
    """Knows the networks that are called beside the model, over all steps.

    Attributes:
        inside: The network that is being called now; None if there is none.
    """

    def __init__(self) -> None:
        self.inside: nn.Module | None = None
        self._known: list[_Network] = []
        self._written: dict[str, bytes] = {}  # a digest of each tensor, by its key
        self._called: set[str] = set()  # the networks that this step has called
        self._tensors: dict[int, str] = {}  # of the network that is being called
        self._used: set[str] = set()
        self._learnt = False  # whether `backward` was called in this step

    def enter(
        self,
        module: nn.Module,
        model: AbstractSet[int],
        whole: AbstractSet[int],
        name_of: Callable[[Tensor], str | None],
    ) -> None:
        """A module that is not the model's is called.

        Arguments:
            module: The module.
            model: The identities of the model's modules.
            whole: Of these, the model itself, or several.
            name_of: The name of a tensor that is a parameter or buffer of the model.
        """
        if self.inside is not None or id(module) in model:
            return
        if any(id(one) in whole for one in module.modules()):
            return  # it wraps the model
        tensors = [(name, one) for name, one in _tensors(module) if name_of(one) is None]
        if not any(isinstance(one, nn.Parameter) for _, one in tensors):
            return  # it brings its input into another form
        self.inside = module
        network = self._network(module, tensors)
        self._called.add(network.name)
        self._tensors = {id(one): name for name, one in tensors}
        self._used = network.used
        if not self._learnt:
            self._keep(network, tensors)

    def leave(self, module: nn.Module) -> bool:
        """Whether it was the network that is being called: it has returned."""
        if module is not self.inside:
            return False
        self.inside = None
        self._tensors = {}
        return True

    def see(self, layer: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """A function is called within the network: what it takes is used."""
        if layer in NORMS and self._takes_statistics(layer, args, kwargs):
            args = [args[0], *args[3:]]
            kwargs = {key: one for key, one in kwargs.items() if not key.startswith("running_")}
        for _, one in tensors_in((args, kwargs)):
            name = self._tensors.get(id(one))
            if name is not None:
                self._used.add(name)

    @staticmethod
    def _takes_statistics(layer: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
        place = NORMS[layer]
        given = kwargs.get("training", kwargs.get("use_input_stats"))
        return bool(args[place] if given is None and len(args) > place else given)

    def learnt(self) -> None:
        """`backward` begins: what a network is later goes into no loss of this step."""
        self._learnt = True

    def take(self, calls: Sequence[Call]) -> dict[str, NDArray]:
        """What is to be written of a step, by key, if a value went into it that such a network may
        have computed.

        Arguments:
            calls: Those that belong to the step.
        """
        found: dict[str, NDArray] = {}
        if not any({"without_gradients", "grad_fn"} & one.options.keys() for one in calls):
            return found
        for network in self._known:
            if network.name not in self._called:
                continue
            for name in network.used & network.pending.keys():
                array, digest, network.bits[name] = network.pending.pop(name)
                key = f"untrained/{network.name}/{name}"
                found[key] = array
                self._written[key] = digest
        return found

    def forget(self) -> None:
        """Ends a step."""
        self.inside, self._tensors, self._learnt = None, {}, False
        self._called.clear()
        for network in self._known:
            network.pending.clear()
            network.seen = ()

    def _network(self, module: nn.Module, tensors: Sequence[tuple[str, Tensor]]) -> _Network:
        """What is known of a network. One that is new takes the place of one like it that is not
        called in this step: a target network may be copied anew."""
        known = next((one for one in self._known if one.module() is module), None)
        if known is not None:
            return known
        name, shapes = variable_of(module), {name: one.shape for name, one in tensors}
        alike = [
            one
            for one in self._known
            if one.shapes == shapes
            and one.name not in self._called
            and (one.name == name or not name or one.module() is None)
        ]
        if alike:
            before = min(alike, key=lambda one: (one.name != name, one.module() is not None))
            before.module = ref(module)
            return before
        names = Names(one.name for one in self._known)
        self._known.append(_Network(names.next(name or NETWORK), ref(module), shapes))
        return self._known[-1]

    def _keep(self, network: _Network, tensors: Sequence[tuple[str, Tensor]]) -> None:
        """Copies what is not as it was last written."""
        seen = tuple(_quickly(one) for _, one in tensors)
        if seen == network.seen:
            return
        network.seen = seen
        for name, one in tensors:
            bits = _bits(one)
            if bits is not None and bits == network.bits.get(name):
                network.pending.pop(name, None)
                continue
            array = to_array(one)
            if array is None:
                continue
            digest = hashlib.blake2b(array.data, digest_size=16).digest()
            if digest == self._written.get(f"untrained/{network.name}/{name}"):
                network.pending.pop(name, None)
                network.bits[name] = bits
            else:
                network.pending[name] = array, digest, bits


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A network's parameters and buffers that have numbers, each once. The calls that a batch norm
    counts change nothing that it returns."""
    seen: set[int] = set()
    for name, one in (*module.named_parameters(), *module.named_buffers()):
        has_none = nn.parameter.is_lazy(one) or one.is_meta
        if id(one) not in seen and not has_none and not name.endswith("num_batches_tracked"):
            seen.add(id(one))
            yield name, one


def _quickly(tensor: Tensor) -> tuple[Any, ...]:
    """What tells most changes of a tensor; `tensor.data` is changed without being counted."""
    first = tensor.detach().reshape(-1)[:1].tolist() if tensor.layout is torch.strided else []
    return id(tensor), version_of(tensor), first


def _bits(tensor: Tensor) -> Bits:
    """What tells that a tensor is what it was: taken as whole numbers of 8 bytes, whose sum costs
    a small part of a copy; and a few numbers, as an order or signs may leave the sum the same."""
    size = tensor.element_size()
    if tensor.layout is not torch.strided or not tensor.is_contiguous() or 8 % size:
        return None
    flat = tensor.detach().reshape(-1)
    whole = flat.numel() * size // 8 * 8 // size
    try:
        total = int(flat[:whole].view(torch.int64).sum())
        total += int(flat[whole:].view(torch.uint8).sum())
    except RuntimeError:  # it does not begin at such a number, or is of another kind
        return None
    return id(tensor), version_of(tensor), total, flat[:: flat.numel() // FEW + 1].tolist()


def variable_of(module: nn.Module) -> str:
    """The name by which the program knows a module: of a variable, the outermost, or of an
    attribute of `self`; empty if none is found."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    for one in reversed(frames):
        name = str(one.f_globals.get("__name__", ""))
        if not any(name == own or name.startswith(f"{own}.") for own in OWN):
            found = _name_in(one, module)
            if found:
                return found.replace("/", ".")[:MOST_NAME]
    return ""


def _name_in(frame: FrameType, module: nn.Module) -> str:
    places = [frame.f_locals, frame.f_globals]
    myself = frame.f_locals.get("self")
    if isinstance(myself, nn.Module):
        places.insert(0, myself._modules)
    elif hasattr(myself, "__dict__"):
        places.insert(0, vars(myself))
    for place in places:
        for name, value in list(place.items()):
            if value is module and name != "self" and not name.startswith("_"):
                return name
    return ""
