"""A reusable part of a study: sliders, nodes, views and checks that ask for the rest by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lwidgets.study.declare import Declares
from lwidgets.study.graph import PROGRESS, Function
from lwidgets.study.sliders import Slider

Names = Callable[[str], str]
Declaration = Callable[[Declares, Names, str], None]
"""Declares something in a study, with its names there and a prefix for words."""


class Part(Declares):
    """A group of declarations that a study can `Study.add`, more than once under different prefixes.

    Attributes:
        title: What it is.
        ports: Names that it takes and does not declare.
        names: Names that it declares.

    Example:
        >>> part = Part("Scaled", ports=("height",))
        >>> _ = part.slider("factor", 2.0, low=0.0, high=5.0)
        >>> @part.node
        ... def scaled(height, factor):
        ...     return factor * height
    """

    def __init__(self, title: str, *, ports: Sequence[str] = ()) -> None:
        """Nothing is declared yet.

        Args:
            title: For messages.
            ports: Sliders, nodes or panels of the study it will be added to, under the names that it calls them by.

        Raises:
            ValueError: A port twice, or one that is no identifier.
        """
        self.title = title
        self.ports = tuple(ports)
        self.names: list[str] = []
        self.declarations: list[Declaration] = []
        for port in self.ports:
            if not port.isidentifier() or port == PROGRESS or self.ports.count(port) > 1:
                raise ValueError(
                    f"Part: ports must be different identifiers other than {PROGRESS!r}, got {port!r}. Rename it."
                )

    def _add_slider(self, slider: Slider) -> None:
        self._claim(slider.name)
        self._require((*filter(None, [slider.bounds]), *slider.when), f"slider {slider.name}")

        def declare(study: Declares, called: Names, prefix: str) -> None:
            study._add_slider(
                replace(
                    slider,
                    name=called(slider.name),
                    label=f"{prefix}{slider.title}",
                    bounds=slider.bounds and called(slider.bounds),
                    when={called(name): values for name, values in slider.when.items()},
                )
            )

        self.declarations.append(declare)

    def _add_given(self, name: str, value: Any) -> None:
        self._claim(name)
        self.declarations.append(lambda study, called, _: study._add_given(called(name), value))

    def _add_source(self, name: str, value: Any) -> None:
        self._claim(name)
        self.declarations.append(lambda study, called, _: study._add_source(called(name), value))

    def _add_function(self, function: Function, filename: str) -> None:
        self._require((*function.takes.values(), *filter(None, [function.on, function.beside])), function.name)
        self._claim(function.name)

        def declare(study: Declares, called: Names, prefix: str) -> None:
            renamed = Function(
                called(function.name),
                function.role,
                function.function,
                {argument: called(name) for argument, name in function.takes.items()},
                f"{prefix}{function.title}",
                function.keep,
                function.slow,
                function.on and called(function.on),
                function.beside and called(function.beside),
            )
            study._add_function(renamed, filename)

        self.declarations.append(declare)

    def _claim(self, name: str) -> None:
        if name in self.names or name in self.ports or name == PROGRESS or not name.isidentifier():
            raise ValueError(
                f"Part {self.title!r}: {name!r} must be a new name, and not a port's. Known are "
                f"{', '.join([*self.ports, *self.names]) or 'none so far'}."
            )
        self.names.append(name)

    def _require(self, taken: Sequence[str], who: str) -> None:
        for name in taken:
            if name not in self.names and name not in self.ports and name != PROGRESS:
                raise ValueError(
                    f"Part {self.title!r}: {who} must take ports or what the part declares before, got {name!r}. "
                    f"Known are {', '.join([*self.ports, *self.names]) or 'none so far'}. Add it to ports."
                )


def renaming(part: Part, prefix: str, uses: Mapping[str, str]) -> dict[str, str]:
    """Name in a part -> name in the study it is added to.

    >>> renaming(Part("p", ports=("a", "b")), "first ", {"b": "other"})
    {'progress': 'progress', 'a': 'a', 'b': 'other'}

    Raises:
        ValueError: ``uses`` names no port, or the prefix makes no identifiers.
    """
    for port in uses:
        if port not in part.ports:
            raise ValueError(
                f"Study.add: uses must name ports of {part.title!r}, got {port!r}. Ports are "
                f"{', '.join(part.ports) or 'none'}."
            )
    start = "_".join([*prefix.split(), ""])
    if start and not start.isidentifier():
        raise ValueError(f"Study.add: prefix must make identifiers, got {prefix!r}. Use letters, digits and spaces.")
    return {
        PROGRESS: PROGRESS,
        **{port: uses.get(port, port) for port in part.ports},
        **{name: f"{start}{name}" for name in part.names},
    }
