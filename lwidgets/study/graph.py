"""What a study consists of, and what depends on what: sliders, sources and givens; then functions of them.

The graph is never changed in place while a worker walks over it: every declaration makes new tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import isgeneratorfunction
from typing import Any, Literal

from lwidgets.progress import Progress as Progress
from lwidgets.study.sliders import Slider

PROGRESS = "progress"
"""An argument of this name receives a `Progress`."""

Key = tuple[Any, ...]
"""What tells two values of a function apart."""
Role = Literal["node", "view", "check", "oracle"]

_JUDGES = ("view", "check", "oracle")
_serials = itertools.count(1)


@dataclass(frozen=True)
class Pushed:
    """A value of a source, and which."""

    value: Any
    version: int


@dataclass(frozen=True)
class Panel:
    """A place for a picture.

    Attributes:
        name: Of the view that gives the picture.
        beside: The panel with which it stands in one row where there is room, or "".
        layers: That view, and those that lay something over it.
        title: What a reader calls it.
    """

    name: str
    beside: str
    layers: tuple[str, ...]
    title: str = ""


@dataclass(frozen=True, eq=False)
class Function:
    """A node, view, check or oracle, and what it takes.

    Attributes:
        name: In the study.
        role: What it is.
        function: Is called with its own arguments.
        takes: Argument -> name in the study.
        title: First line of its docstring, or its name.
        keep: How many results are remembered.
        slow: Whether it runs on release, on a thread of its own.
        on: Panel that a view gives a layer to, or "".
        beside: Panel that a view's own panel stands beside, or "".
        optional: Arguments of a view that it does without, having a default, while they are not there.
        depends: Sliders and sources that what it takes depends on, however far back.
        serial: Another number for every function that was ever declared, or depends on one that was.
    """

    name: str
    role: Role
    function: Callable[..., Any]
    takes: Mapping[str, str]
    title: str
    keep: int = 0
    slow: bool = False
    on: str = ""
    beside: str = ""
    optional: frozenset[str] = frozenset()
    depends: tuple[str, ...] = ()
    serial: int = field(default_factory=lambda: next(_serials))

    @cached_property
    def streams(self) -> bool:
        """Whether it is a generator function."""
        return isgeneratorfunction(self.function)

    @cached_property
    def reports(self) -> bool:
        """Whether it takes a `Progress`."""
        return PROGRESS in self.takes.values()


class Graph:
    """Everything that was declared, in an order in which it can be computed.

    Attributes:
        sliders: Name -> slider.
        sources: Name -> None; in order.
        givens: Name -> value.
        functions: Name -> function.
        nodes: Those among them.
        views: Those.
        judges: Checks and oracles, and views, whose pictures may claim something.
        panels: In order of declaration.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.sliders: dict[str, Slider] = {}
        self.sources: dict[str, None] = {}
        self.givens: dict[str, Any] = {}
        self.functions: dict[str, Function] = {}
        self.nodes: tuple[Function, ...] = ()
        self.views: tuple[Function, ...] = ()
        self.judges: tuple[Function, ...] = ()
        self.panels: tuple[Panel, ...] = ()

    def __contains__(self, name: object) -> bool:
        return any(name in names for names in (self.sliders, self.sources, self.givens, self.functions))

    def names(self) -> list[str]:
        """Everything that a function can take."""
        return [*self.sliders, *self.sources, *self.givens, *self.functions]

    def can_take(self, role: Role) -> list[str]:
        """The names that a function of a role can take: pictures are for checks and oracles alone."""
        functions = (*self.nodes, *self.views) if role in ("check", "oracle") else self.nodes
        return [*self.sliders, *self.sources, *self.givens, *(function.name for function in functions), PROGRESS]

    def key(self, function: Function, values: Mapping[str, Any], world: Any) -> Key:
        """What tells a value of a function from others: at which positions, from which pushed values.

        Args:
            function: Of this graph, or of an earlier state of it, whose keys are others.
            values: Slider -> value, source -> `Pushed`.
            world: Version of what functions use besides.
        """
        return (
            function.serial,
            world,
            *(
                self.sliders[name].position(values[name]) if name in self.sliders else values[name].version
                for name in function.depends
            ),
        )

    def line_of(self, name: str) -> list[Function]:
        """The functions that one depends on, the furthest back first, and itself."""
        function = self.functions[name]
        before = [f for taken in function.takes.values() if taken in self.functions for f in self.line_of(taken)]
        return list(dict.fromkeys([*before, function]))

    def dependents(self, name: str) -> set[str]:
        """The functions that take something, directly or by way of others; not itself."""
        found: set[str] = set()
        added = True
        while added:
            more = {
                f.name
                for f in self.functions.values()
                if f.name not in found and not {name, *found}.isdisjoint(f.takes.values())
            }
            found |= more
            added = bool(more)
        return found

    def put(self, function: Function) -> None:
        """Add a function, or put it in the place of one of its name: what depends on it is then computed anew.

        Raises:
            ValueError: It takes what is not there, or what depends on itself; or panels do not fit. The graph stays as
                it was.
        """
        self._check_takes(function)
        functions = {**self.functions, function.name: function}
        titles = [f.title for f in functions.values() if f.role != "node"]
        if function.role != "node" and titles.count(function.title) > 1:
            raise ValueError(
                f"Study: {function.role} {function.name} must have a title of its own, got {function.title!r} twice. "
                "Change one docstring."
            )
        panels = _panels(functions)
        self._renew(functions, self.dependents(function.name))
        self.panels = panels

    def renew(self, names: set[str]) -> None:
        """Let functions be as if they were declared anew: nothing that was computed for them holds any more."""
        self._renew(self.functions, names)

    def _renew(self, functions: Mapping[str, Function], names: set[str]) -> None:
        """Put functions in an order in which each stands behind what it takes; those named get new numbers."""
        waiting, done = dict(functions), dict[str, Function]()
        while waiting:
            for name, function in list(waiting.items()):
                if waiting.keys().isdisjoint(function.takes.values()):
                    depends = self._depends(function, done)
                    serial = next(_serials) if name in names else function.serial
                    if (serial, depends) != (function.serial, function.depends):
                        function = replace(function, depends=depends, serial=serial)
                    done[name] = function
                    del waiting[name]
                    break
        self.functions = done
        self.nodes, self.views, self.judges = (
            tuple(f for f in done.values() if f.role in roles) for roles in (("node",), ("view",), _JUDGES)
        )

    def _depends(self, function: Function, before: Mapping[str, Function]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in function.takes.values():
            if name in before:
                found.update(dict.fromkeys(before[name].depends))
            elif name in self.sliders or name in self.sources:
                found[name] = None
        return tuple(found)

    def _check_takes(self, function: Function) -> None:
        after = self.dependents(function.name) | {function.name} if function.name in self.functions else set()
        known = [name for name in self.can_take(function.role) if name not in after]
        unknown = [name for name in function.takes.values() if name not in known]
        if unknown:
            why = ", which depends on it" if unknown[0] in after else ""
            raise ValueError(
                f"Study: arguments of {function.name} must name sliders or earlier nodes, got {unknown[0]!r}{why}. "
                f"Known are {', '.join(known)}."
            )


def _panels(functions: Mapping[str, Function]) -> tuple[Panel, ...]:
    """The panels that views make."""
    views = [function for function in functions.values() if function.role == "view"]
    bases = [view for view in views if not view.on]
    known = ", ".join(base.name for base in bases) or "none so far"
    for view in views:
        for word, wanted in (("on", view.on), ("beside", view.beside)):
            if wanted and wanted not in [base.name for base in bases if base is not view]:
                raise ValueError(
                    f"Study.view: {word} must name an earlier panel, got {wanted!r} for {view.name}. "
                    f"Panels are {known}."
                )
    return tuple(Panel(base.name, base.beside, (base.name, *_named(views, base.name)), base.title) for base in bases)


def _named(views: Iterable[Function], panel: str) -> Iterator[str]:
    return (view.name for view in views if view.on == panel)
