"""What determines a measured value, as one short text.

Two identities are equal only if every point has the same value: weights and directions, data in their order and
batches, BatchNorm mode, the code of model, loss and metrics, versions and settings of torch. Names do not count;
content does, so a value is found again by another process.

Source: Mokhov et al., "Build Systems a la Carte", ICFP 2018, who call a value that is found by the hashes of all it was
made from a deep constructive trace.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import torch

from lwidgets.basis import Basis
from lwidgets.data import Batches
from lwidgets.objective import ModelObjective, Objective
from lwidgets.sampling.content import Content, name_of
from lwidgets.version import __version__

# Choices: what a change may go unseen for, and that looking takes at most two hundredths of the time.
_PAUSE = 0.02  # seconds between two looks at what may have changed ...
_SHARE = 50  # ... and so many times as long as a look takes

_lock = threading.Lock()
_kept: WeakKeyDictionary[object, Any] = WeakKeyDictionary()
_restless: WeakSet[Objective] = WeakSet()


def identity(objective: Objective, basis: Basis, batchnorm: str, read: Meaning | None = None) -> str:
    """A digest of everything that determines the values of an objective over a basis.

    Tensors are read once for each objective and basis, which are not changed once they are made; code, and what it
    refers to by global names, every time.

    Args:
        objective: What is evaluated.
        basis: K vectors, bound to the objective's space.
        batchnorm: A resolved mode.
        read: The objective's meaning, where it has just been read.

    Returns:
        Forty hexadecimal digits, the same in every process; where something cannot be read, the same only for the same
        thing, and `meaning` names it.

    Example:
        >>> import lwidgets as lw
        >>> bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
        >>> again = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
        >>> other = lw.Objective.from_function(lambda u: (u**4).sum(dim=1), dim=2)
        >>> basis = lw.Subspace.identity(2).basis
        >>> [identity(each, basis, "none") == identity(bowl, basis, "none") for each in (again, other)]
        [True, False]
    """
    content = Content().add((read or meaning(objective, batchnorm)).digest, _once(basis, _of_basis))
    content.add(*(_once(data, _of_batches) for data in objective.data_read(batchnorm)))
    return content.hexdigest()


@dataclass(frozen=True)
class Meaning:
    """What an objective computes at a point from a batch, as it is now: code, and all that the code reads.

    Attributes:
        digest: Of all that could be read.
        unread: What could not be read, by name: a change in it is not seen.
        compiled: Whether some of it was made by torch.compile.
    """

    digest: str
    unread: tuple[str, ...] = ()
    compiled: bool = False


def meaning(objective: Objective, batchnorm: str) -> Meaning:
    """Read the model's code, loss and metrics, and whatever these read by global names, closures and attributes.

    Two readings differ if and only if something changed in between that could change a value; what cannot be read is
    named. It takes a tenth of a millisecond for a small network.

    Args:
        objective: What is evaluated.
        batchnorm: A resolved mode.
    """
    content = Content().add(*_surroundings(objective.device), batchnorm, objective.names)
    if objective in _restless:
        return Meaning(content.add(name_of(objective)).hexdigest(), ("something that changes while it is evaluated",))
    try:
        module: _Module | None = _once(objective, _of_module) if objective.has_model else None
        if module is not None:
            content.add(module.digest, *map(_referent, module.code))
        content.add(*objective.reads)
        if module is not None:
            content.unread |= dict.fromkeys(module.unread)
            content.compiled |= module.compiled
    except Exception as error:  # whatever the user's objects raise, too deep a nesting included
        content = Content().add("unknown", name_of(objective))
        content.unread[f"something that raises {type(error).__name__} when it is read"] = None
    return Meaning(content.hexdigest(), tuple(content.unread), content.compiled)


class Steady:
    """Whether what an objective computes is still what it was; asked often, it looks now and then.

    Attributes:
        meaning: What it was.
    """

    def __init__(self, objective: Objective, batchnorm: str) -> None:
        """Read it.

        Args:
            objective: What is evaluated.
            batchnorm: A resolved mode.
        """
        began = time.perf_counter()
        self.meaning = meaning(objective, batchnorm)
        self._objective, self._batchnorm = objective, batchnorm
        self._looked = time.perf_counter()
        self._pause = max(_PAUSE, _SHARE * (self._looked - began))

    def __call__(self, *, now: bool = False) -> bool:
        """True while nothing has changed; with ``now`` it is looked at in any case."""
        if now or time.perf_counter() - self._looked > self._pause:
            same = meaning(self._objective, self._batchnorm) == self.meaning
            self._looked = time.perf_counter()
            return same
        return True


def notice_restless(objective: Objective, basis: Basis, batchnorm: str) -> None:
    """Find out, once something has changed, whether it is the evaluation itself that changes it, by evaluating once.

    A metric that counts its calls, a loss that keeps a history: from then on `meaning` names it as what cannot be
    followed, because what such code depends on is another thing at every point.

    Args:
        objective: What is evaluated.
        basis: K vectors, bound to the objective's space.
        batchnorm: A resolved mode.
    """
    before = meaning(objective, batchnorm)
    with suppress(Exception):  # it is told where the point is wanted
        next(objective.evaluate(basis, [np.eye(len(basis.vectors))[0]], batchnorm=batchnorm))
    if meaning(objective, batchnorm) != before:
        follow_no_more(objective)


def follow_no_more(objective: Objective) -> None:
    """From now on, what the objective depends on counts as something that cannot be followed."""
    _restless.add(objective)


def version(*objectives: Objective | None) -> tuple[str, ...]:
    """What tells two states of objectives apart that are of the same models and data: the digests of their meanings."""
    return tuple(meaning(objective, "").digest for objective in objectives if objective is not None)


def _surroundings(device: torch.device) -> tuple[Any, ...]:
    autocast = [torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    settings = (str(torch.get_default_dtype()), torch.get_float32_matmul_precision(), *map(str, autocast))
    return (__version__, str(torch.__version__), tuple(sys.version_info), device.type, settings)


def _once(thing: Any, compute: Callable[[Any], Any]) -> Any:
    """What has been computed about an object, kept as long as the object is."""
    with _lock:
        found = _kept.get(thing)
    if found is None:
        found = compute(thing)
        with _lock:
            _kept[thing] = found
    return found


def _of_basis(basis: Basis) -> str:
    moving = basis.moving
    fixed = {name: tensor for name, tensor in basis.origin.parameters.items() if name not in moving}
    vectors = [{name: vector[name] for name in moving if name in vector} for vector in basis.vectors]
    content = Content().add(basis.vertices)
    for tensors in (*vectors, fixed, basis.origin.buffers):
        content.add(tuple((name, tensors[name]) for name in sorted(tensors)))
    return content.hexdigest()


def _of_batches(data: Batches) -> str:
    return Content().add(data.batches, data.weights).hexdigest()


@dataclass(frozen=True)
class _Module:
    """What a module consists of but for the tensors that a point brings along.

    Attributes:
        digest: Of its attributes and of how they hang together; it belongs to the objective and does not change.
        code: The functions and classes met on the way, which may.
        unread: What could not be read.
        compiled: Whether a part of it was made by torch.compile.
    """

    digest: str
    code: tuple[weakref.ref[Any], ...]
    unread: tuple[str, ...]
    compiled: bool


def _of_module(objective: ModelObjective) -> _Module:
    code: list[weakref.ref[Any]] = []
    with objective.replica() as replica:
        brought = {id(p): name for name, p in replica.parameters.items()}
        brought |= {id(b): f"{n} {b.dtype}" for n, b in replica.buffers.items() if n in objective.space.buffers}
        content = Content(brought, code).add(replica.module.eval())
    return _Module(content.hexdigest(), tuple(code), tuple(content.unread), content.compiled)


def _referent(refer: weakref.ref[Any]) -> Any:
    thing = refer()
    if thing is None:
        raise ReferenceError("a function or class of the model is gone")
    return thing
