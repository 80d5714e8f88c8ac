"""What a rule is, and how it reads a call.

A rule is a function of the flow and a call that returns the axes of the result, or a tuple of them for several
results; results beyond those are fixed. It raises `NoRule` for a case it does not cover, which is then pinned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lwidgets.symmetry.atoms import Axes
from lwidgets.symmetry.flow import Flow, NoRule
from lwidgets.symmetry.trace import Call, Slot

Rule = Callable[[Flow, Call], Axes | tuple[Axes, ...]]


RULES: dict[str, Rule] = {}
"""Operation -> rule; pointwise operations that are missing have `pointwise`."""

FRESH: dict[str, Rule] = {}
"""Operations that make axes of their own, whatever acts on their arguments."""

STRUCTURAL: set[str] = set()
"""Operations that move values and change none; in place they give a tensor new axes."""


def rule(*ops: str, structural: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        if structural:
            STRUCTURAL.update(ops)
        return function

    return register


def shape_of(call: Call, i: int = 0) -> tuple[int, ...]:
    """The shape of a result."""
    slot = call.outputs[i]
    if slot is None:
        raise NoRule
    return slot.shape


def slot_of(call: Call, *names: str) -> Slot:
    """The first of these arguments that is a tensor."""
    for name in names:
        if isinstance(found := call.inputs.get(name), Slot):
            return found
    raise NoRule


def dims_of(call: Call, ndim: int, name: str = "dim") -> list[int]:
    """An argument that counts dimensions; none means all."""
    given: Any = call.inputs.get(name)
    if given is None or (isinstance(given, list | tuple) and not given):
        return list(range(ndim))
    return [d % max(ndim, 1) for d in (given if isinstance(given, list | tuple) else [given])]


def dim_of(call: Call, ndim: int, name: str = "dim") -> int:
    """An argument that names one dimension."""
    return int(call.inputs[name]) % max(ndim, 1)
