"""The words with which a study is written, and with which a part of one is: the same ones."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from lwidgets.check import Check
from lwidgets.pictures.base import Picture
from lwidgets.study.checks import agreement
from lwidgets.study.graph import Function, Role
from lwidgets.study.sliders import Slider

F = TypeVar("F", bound=Callable[..., Any])
View = TypeVar("View", bound="Callable[..., Picture | None]")
Judge = TypeVar("Judge", bound="Callable[..., Check]")

_CHECKS_KEPT = 64  # outcomes of a check that are remembered; they are a line of text each


class Declares(ABC):
    """Whatever sliders, nodes, views and checks can be declared in."""

    @abstractmethod
    def _add_slider(self, slider: Slider) -> None: ...

    @abstractmethod
    def _add_given(self, name: str, value: Any) -> None: ...

    @abstractmethod
    def _add_source(self, name: str, value: Any) -> None: ...

    @abstractmethod
    def _add_function(self, function: Function, filename: str) -> None: ...

    def slider(self, name: str, value: Any, **spec: Any) -> Slider:
        """Declare something a person can set; see `Slider` for the keywords."""
        if "options" in spec:
            spec["options"] = tuple(spec["options"])
        slider = Slider(name, value, **spec)
        slider.coerce(slider.value)
        self._add_slider(slider)
        return slider

    def given(self, name: str, value: Any) -> None:
        """Declare a constant that functions take by its name; it has no control, and stays out of documents.

        Args:
            name: As an argument is called.
            value: Anything; it is never compared.
        """
        self._add_given(name, value)

    def source(self, name: str, value: Any = None) -> None:
        """Declare a value that comes from outside while the study runs; see `Study.push`.

        Args:
            name: As an argument is called.
            value: Until something is pushed.
        """
        self._add_source(name, value)

    @overload
    def node(self, function: F) -> F: ...
    @overload
    def node(self, *, keep: int = 8, slow: bool = False) -> Callable[[F], F]: ...
    def node(self, function: F | None = None, *, keep: int = 8, slow: bool = False) -> F | Callable[[F], F]:
        """Declare a value computed from sliders and earlier nodes; a decorator.

        Args:
            function: Its argument names are what it takes. A generator function shows every value it yields; the last
                counts. A function that takes ``progress`` ends at its next call of it when its sliders have moved;
                one that does not is always computed to its end.
            keep: How many results are remembered, so that a slider that returns costs nothing. Where there is room for
                them, 4 and more, the next positions of a slider are computed ahead in idle time.
            slow: Run it when the sliders have come to rest, on a thread of its own, so that it never holds up a
                picture that is ready. Its sliders moving on end it at its next ``progress``, and what it returns all
                the same is dropped.
        """

        def declare(f: F) -> F:
            return self._declare(f, "node", keep=keep, slow=slow)

        return declare if function is None else declare(function)

    @overload
    def view(self, function: View) -> View: ...
    @overload
    def view(self, *, on: str = "", beside: str = "") -> Callable[[View], View]: ...
    def view(self, function: View | None = None, *, on: str = "", beside: str = "") -> View | Callable[[View], View]:
        """Declare a picture of sliders and nodes, made whenever one of them has a new value; a decorator.

        Args:
            function: Returns a picture, or None for "not now". Its name is the panel's, the first line of its
                docstring what a reader calls it, and the caption of a picture that has none. An argument with a default
                is not waited for: until it is there, the picture is made without.
            on: Give a layer to this panel instead, declared earlier; its picture must be of the same kind.
            beside: Let its panel stand in one row with this one, where there is room.
        """
        if on and beside:
            raise ValueError(
                f"Study.view: a view must be on a panel or beside one, got on={on!r} and beside={beside!r}. Drop one."
            )

        def declare(f: View) -> View:
            arguments = inspect.signature(f).parameters.items()
            optional = frozenset(name for name, one in arguments if one.default is not inspect.Parameter.empty)
            return self._declare(f, "view", on=on, beside=beside, optional=optional)

        return declare if function is None else declare(function)

    @overload
    def check(self, function: Judge, /) -> Judge: ...
    @overload
    def check(self, /, **names: str) -> Callable[[Judge], Judge]: ...
    def check(self, function: Judge | None = None, /, **names: str) -> Judge | Callable[[Judge], Judge]:
        """Declare a self-check, run when everything it takes is final; a decorator.

        Args:
            function: Its docstring's first line is the check's name. It may take a view's picture, too.
            **names: Argument -> the slider or node it takes, where that has another name.
        """

        def declare(f: Judge) -> Judge:
            return self._declare(f, "check", names=names, keep=_CHECKS_KEPT)

        return declare if function is None else declare(function)

    @overload
    def oracle(self, function: F) -> F: ...
    @overload
    def oracle(self, *, tol: float = 1e-6, atol: float = 0.0) -> Callable[[F], F]: ...
    def oracle(self, function: F | None = None, *, tol: float = 1e-6, atol: float = 0.0) -> F | Callable[[F], F]:
        """Declare a number that is known; a decorator.

        Args:
            function: Returns what was found and what is known, (found, known): numbers, arrays or tensors; or None
                where it does not apply. Its docstring's first line is the check's name.
            tol: What they may differ by, relative to what is known.
            atol: And besides, absolutely.

        Raises:
            ValueError: A tolerance is negative.
        """
        if not (tol >= 0 and atol >= 0):
            raise ValueError(f"Study.oracle: tolerances must be 0 or more, got tol={tol}, atol={atol}. Pass tol=1e-6.")

        def declare(f: F) -> F:
            self._declare(f, "oracle", keep=_CHECKS_KEPT, wrap=lambda told: agreement(told, tol, atol))
            return f

        return declare if function is None else declare(function)

    def _declare(
        self,
        function: F,
        role: Role,
        *,
        names: Mapping[str, str] | None = None,
        wrap: Callable[[Any], Any] | None = None,
        **more: Any,
    ) -> F:
        arguments = inspect.signature(function).parameters
        for argument in names or {}:
            if argument not in arguments:
                raise ValueError(
                    f"Study: names must be arguments of {function.__name__}, got {argument!r}. Check the spelling."
                )
        takes = {argument: (names or {}).get(argument, argument) for argument in arguments}
        title = (inspect.getdoc(function) or function.__name__.replace("_", " ")).partition("\n")[0].rstrip(".")
        called = function if wrap is None else _wrapped(function, wrap)
        code = getattr(inspect.unwrap(function), "__code__", None)
        self._add_function(
            Function(function.__name__, role, called, takes, title, **more), code.co_filename if code else ""
        )
        return function


def _wrapped(function: Callable[..., Any], wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    def wrapped(**taken: Any) -> Any:
        return wrap(function(**taken))

    return wrapped
