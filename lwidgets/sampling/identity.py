"""What determines a measured value, as one short text.

Two identities are equal only if every point has the same value: weights and directions, data in their order and
batches, BatchNorm mode, the code of model, loss and metrics, versions and settings of torch. Names do not count;
content does, so a value is found again by another process.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch

from lwidgets.basis import Basis
from lwidgets.data import Batches
from lwidgets.objective import FunctionObjective, Objective
from lwidgets.sampling.content import Content, name_of
from lwidgets.version import __version__

_lock = threading.Lock()
_kept: WeakKeyDictionary[object, Any] = WeakKeyDictionary()


def identity(objective: Objective, basis: Basis, batchnorm: str) -> str:
    """A digest of everything that determines the values of an objective over a basis.

    Tensors are read once for each objective and basis, which are not changed once they are made; code, and what it
    refers to by global names, every time.

    Args:
        objective: What is evaluated.
        basis: K vectors, bound to the objective's space.
        batchnorm: A resolved mode.

    Returns:
        Forty hexadecimal digits, the same in every process; a model or loss that cannot be read gives a random text
        that stays the same for this objective.

    Example:
        >>> import lwidgets as lw
        >>> bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
        >>> again = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
        >>> other = lw.Objective.from_function(lambda u: (u**4).sum(dim=1), dim=2)
        >>> basis = lw.Subspace.identity(2).basis
        >>> [identity(each, basis, "none") == identity(bowl, basis, "none") for each in (again, other)]
        [True, False]
    """
    content = Content().add(*_surroundings(objective.device), batchnorm, objective.names, _once(basis, _of_basis))
    try:
        if isinstance(objective, FunctionObjective):
            content.add(objective.function)
        else:
            fixed, code = _once(objective, _of_module)
            content.add(fixed, *map(_referent, code))
            content.add(*((m.takes_model, m.function) for m in objective._measures.values()))
            content.add(_once(objective.data, _of_batches))
            if batchnorm == "recalibrate":
                content.add(_once(objective.train, _of_batches))
    except Exception:  # whatever the user's objects raise, too deep a nesting included
        content.add("unknown", name_of(objective))
    return content.hexdigest()


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


def _of_module(objective: Objective) -> tuple[str, tuple[weakref.ref[Any], ...]]:
    """The module but for the tensors that a point brings along, and the functions and classes met on the way."""
    code: list[weakref.ref[Any]] = []
    with objective.replica() as replica:
        brought = {id(p): name for name, p in replica.parameters.items()}
        brought |= {id(b): f"{n} {b.dtype}" for n, b in replica.buffers.items() if n in objective.space.buffers}
        digest = Content(brought, code).add(replica.module.eval()).hexdigest()
    return digest, tuple(code)


def _referent(refer: weakref.ref[Any]) -> Any:
    thing = refer()
    if thing is None:
        raise ReferenceError("a function or class of the model is gone")
    return thing
