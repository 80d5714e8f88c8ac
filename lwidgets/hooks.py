"""The functions that hang on a module: in its copy they reach the copy, and hooks that only watch are left out.

`copy.deepcopy` passes functions and weak references on as they are. In a copy of a model, a replaced ``forward`` would
so go on computing with the weights of the original, and a hook go on filling the user's lists.
"""

from __future__ import annotations

import copy
import dis
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

_FORWARD = ("_forward_pre_hooks", "_forward_hooks")
_BACKWARD = ("_backward_pre_hooks", "_backward_hooks")  # they change gradients, not the function that is looked at
_OTHERS = ("_parameters", "_buffers", "_modules", *_BACKWARD)


class OwnGlobals(dict[str, Any]):
    """The global names of a copied function: its own where they reach the model or it writes to them, else live."""

    def __init__(self, live: dict[str, Any], own: dict[str, Any]) -> None:
        """The names that are its own, and where to look up all others."""
        super().__init__(own)
        self.live = live

    def __missing__(self, name: str) -> Any:
        """As they are when they are read."""
        return self.live[name]

    def __contains__(self, name: object) -> bool:
        """In either."""
        return super().__contains__(name) or name in self.live

    def get(self, name: str, default: Any = None) -> Any:
        """From either."""
        try:
            return self[name]
        except KeyError:
            return default


def own_functions(module: nn.Module, memo: dict[int, Any]) -> None:
    """Make functions, partial functions and weak references in a copied module reach the copy. In place.

    Args:
        module: The copy.
        memo: What `copy.deepcopy` filled: id of an original -> its copy.
    """
    for part in module.modules():
        state = vars(part)
        for kind in _BACKWARD:
            state[kind].clear()
        for name, value in list(state.items()):
            if name in _FORWARD:
                for key, hook in value.items():
                    value[key] = owned(hook, memo, writes=True)
            elif name not in _OTHERS and (new := owned(value, memo)) is not value:
                state[name] = new


def owned(thing: Any, memo: dict[int, Any], *, writes: bool = False) -> Any:
    """A function, or what is made of functions, for the copy of the model; what does not reach the model as it is.

    Args:
        thing: Anything.
        memo: id of an original -> its copy.
        writes: It may write to what it reaches, which it then gets copies of: a hook.
    """
    if id(thing) in memo:
        return memo[id(thing)]
    if isinstance(thing, FunctionType):
        thing = getattr(thing, "_torchdynamo_orig_callable", thing)  # what torch.compile was given
    if isinstance(thing, FunctionType):
        return _function(thing, memo, writes)
    if isinstance(thing, partial):
        parts = [owned(part, memo, writes=writes) for part in (thing.func, *thing.args, *thing.keywords.values())]
        args, keywords = parts[1 : 1 + len(thing.args)], parts[1 + len(thing.args) :]
        same = all(a is b for a, b in zip(parts, (thing.func, *thing.args, *thing.keywords.values()), strict=True))
        return thing if same else partial(parts[0], *args, **dict(zip(thing.keywords, keywords, strict=True)))
    if type(thing) is weakref.ref:
        there = thing()
        return weakref.ref(memo[id(there)]) if id(there) in memo else thing
    if isinstance(thing, MethodType):
        return MethodType(thing.__func__, memo[id(thing.__self__)]) if id(thing.__self__) in memo else thing
    if type(thing) in (list, dict):  # copied already
        for key, value in list(thing.items() if isinstance(thing, dict) else enumerate(thing)):
            thing[key] = owned(value, memo, writes=writes)
    return thing


def _function(function: FunctionType, memo: dict[int, Any], writes: bool) -> FunctionType:
    cells = [CellType() for _ in function.__closure__ or ()]
    copied = _like(function, function.__globals__, tuple(cells))
    memo[id(function)] = copied  # it may refer to itself
    changed = False
    for cell, original in zip(cells, function.__closure__ or (), strict=True):
        try:
            content = original.cell_contents
        except ValueError:  # nothing has been put in yet
            continue
        cell.cell_contents = _reached(content, memo, writes)
        changed |= cell.cell_contents is not content
    own, mine = {}, not installed(function.__code__.co_filename)
    if mine:
        names = function.__globals__
        for name in _names(function.__code__):
            if name in names:
                its = writes and (not isinstance(names, OwnGlobals) or dict.__contains__(names, name))
                if (new := _reached(names[name], memo, its)) is not names[name]:
                    own[name] = new
    if own or (mine and writes):
        changed, copied = True, _like(function, OwnGlobals(function.__globals__, own), tuple(cells))
    copied = copied if changed else function
    memo[id(function)] = copied
    return copied


def _like(function: FunctionType, names: dict[str, Any], cells: tuple[CellType, ...]) -> FunctionType:
    new = FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells or None)
    new.__kwdefaults__, new.__qualname__, new.__module__ = (
        function.__kwdefaults__,
        function.__qualname__,
        function.__module__,
    )
    vars(new).update({name: value for name, value in vars(function).items() if name != "__wrapped__"})
    return new


def _reached(value: Any, memo: dict[int, Any], writes: bool) -> Any:
    """What a function reaches, for its copy."""
    if isinstance(value, FunctionType | partial | weakref.ref | MethodType) or id(value) in memo:
        return owned(value, memo, writes=writes)
    if not (writes and _holds_state(value)) and not _contains(value, memo):
        return value
    tried = dict(memo)
    try:
        new = copy.deepcopy(value, tried)
    except Exception:  # a file, a connection: it is shared
        return value
    memo.update(tried)
    return new


def _contains(value: Any, memo: dict[int, Any]) -> bool:
    """Whether a container has a part of the model in it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(id(each) in memo for each in inside)


def _holds_state(value: Any) -> bool:
    """Whether it is a container, numbers, or an object of somebody's own class."""
    if isinstance(value, type | ModuleType | nn.Module):
        return False
    if isinstance(value, list | dict | set | bytearray | deque | np.ndarray | Tensor):
        return True
    module = sys.modules.get(type(value).__module__)
    return not isinstance(module, ModuleType) or not _comes_installed(module)


def _comes_installed(module: ModuleType) -> bool:
    return module.__name__ in sys.builtin_module_names or installed(getattr(module, "__file__", None) or "")


@lru_cache(maxsize=4096)
def installed(file: str) -> bool:
    """Whether code comes with Python or a package, and is not somebody's own."""
    path = Path(file)
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or path.is_relative_to(
        os.path.dirname(os.__file__)
    )


def _names(code: CodeType) -> set[str]:
    """Global names that code reads, functions inside it included."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


@dataclass(eq=False)
class Observed:
    """A forward hook that tells, while it is observed, whether it does more than watch.

    Attributes:
        where: Its module.
        kind: The attribute of the module that has it.
        key: Its key there.
        hook: The hook.
        acts: It returned something, or left what it was given, or its module, other than it found them.
    """

    where: nn.Module
    kind: str
    key: int
    hook: Callable[..., Any]
    acts: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """One that returns something on some paths only may act elsewhere."""
        self.acts = _sometimes_returns(self.hook)

    @property
    def label(self) -> str:
        """The hook and the class of its module, for provenance."""
        return _label(self.hook, self.where)

    def __call__(self, module: nn.Module, *given: Any) -> Any:
        """The hook, watched."""
        before = _versions(module, given)
        found = self.hook(module, *given)
        self.acts |= found is not None or _versions(module, given) != before
        return found


def backward_hooks(module: nn.Module) -> list[str]:
    """Labels of the hooks that a private copy never has."""
    return [_label(hook, m) for m in module.modules() for kind in _BACKWARD for hook in vars(m)[kind].values()]


def _label(hook: Any, where: nn.Module) -> str:
    hook = next(_functions(hook), hook)
    return f"{getattr(hook, '__name__', type(hook).__name__)} on {type(where).__name__}"


def observe(module: nn.Module) -> list[Observed]:
    """Put an observer in the place of every forward hook of a private copy."""
    found = [
        Observed(part, kind, key, hook)
        for part in module.modules()
        for kind in _FORWARD
        for key, hook in vars(part)[kind].items()
    ]
    for each in found:
        vars(each.where)[each.kind][each.key] = each
    return found


def settle(observed: Sequence[Observed], values: Callable[[], Any]) -> tuple[list[Observed], list[Observed]]:
    """Take the observers out again, and with them the hooks that only watched.

    Args:
        observed: From `observe`, after the module was called.
        values: What the module gives where it was not called before, in a form that can be compared.

    Returns:
        The hooks that are left out, and those that are kept because they take part in the function.
    """
    watching = [each for each in observed if not each.acts]
    if watching:
        _put(observed, lambda each: each if each.acts else None)
        without = values()  # before those which are gone can leave anything for others to find
        _put(observed, lambda each: each)
        needed = values() != without
        watching = [each for each in watching if not (needed or each.acts)]
    _put(observed, lambda each: None if each in watching else each.hook)
    kept = [each for each in observed if each not in watching]
    for each in kept:
        _let_live(each.hook)
    return watching, kept


def _put(observed: Iterable[Observed], hook: Callable[[Observed], Any]) -> None:
    for each in observed:
        hooks = vars(each.where)[each.kind]
        if (new := hook(each)) is None:
            hooks.pop(each.key, None)
        else:
            hooks[each.key] = new
    for part in {id(each.where): each.where for each in observed}.values():
        for kind in _FORWARD:
            order = sorted(vars(part)[kind].items())  # keys count up, so this is the order in which they were added
            vars(part)[kind].clear()
            vars(part)[kind].update(order)


def _let_live(hook: Any) -> None:
    """Of the names that are a kept hook's own, let those live that it has only read."""
    for function in _functions(hook):
        names = function.__globals__
        if isinstance(names, OwnGlobals):
            for name in [name for name in names if _holds_state(names[name]) and _alike(names[name], names.live[name])]:
                del names[name]


def _alike(own: Any, live: Any) -> bool:
    """Whether a copy is still what it was copied from."""
    if own is live:
        return True
    if type(own) is not type(live):
        return False
    if isinstance(own, Tensor):
        return torch.equal(own, live)
    if isinstance(own, np.ndarray):
        return np.array_equal(own, live)
    if isinstance(own, dict):
        return own.keys() == live.keys() and all(_alike(own[key], live[key]) for key in own)
    if isinstance(own, list | tuple | deque):
        return len(own) == len(live) and all(map(_alike, own, live))
    if hasattr(own, "__dict__"):
        return _alike(vars(own), vars(live))
    return bool(own == live)


def _functions(hook: Any) -> Iterator[FunctionType]:
    while isinstance(hook, partial):
        hook = hook.func
    if isinstance(hook, FunctionType):
        yield hook


def _sometimes_returns(hook: Any) -> bool:
    """Whether a function returns nothing on one path and something on another."""
    for function in _functions(hook.__func__ if isinstance(hook, MethodType) else hook):
        nothing = something = 0
        before = None
        for step in dis.get_instructions(function.__code__):
            if step.opname == "RETURN_CONST" or step.opname == "RETURN_VALUE":
                made = step if step.opname == "RETURN_CONST" else before
                none = made is not None and made.opname in ("LOAD_CONST", "RETURN_CONST") and made.argval is None
                nothing, something = nothing + none, something + (not none)
            before = step
        return bool(nothing and something)
    return False


def _versions(module: nn.Module, given: Any) -> list[tuple[str, int, int]]:
    """What there is to see of a module and of what it was called with: which objects, and how often written to."""
    state = vars(module)
    parts = {**state, **state["_parameters"], **state["_buffers"]}
    things = [*parts.items(), *(("given", leaf) for leaf in tree_leaves(given))]
    return [(name, id(thing), _writes(thing)) for name, thing in things]


def _writes(thing: Any) -> int:
    return thing._version if isinstance(thing, Tensor) and not thing.is_inference() else 0
