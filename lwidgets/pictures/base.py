"""What a person sees, as a frozen value of plain arrays and words.

A kind of picture is one file here and one in ``js/src/pictures``. It owns what a document keeps of it (`plain`),
how it gets smaller (`thin`) and how matplotlib draws it (`still`). Whoever carries pictures (widgets,
pages, notebooks, stills) asks the picture and knows no kind by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lwidgets.check import Check
from lwidgets.palette import CYCLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Coding = Literal["f4", "u1", "q2", "l2"]
"""How a document may keep an array: float32; bytes; 65,533 equal steps of the values, or of their logarithms."""


class Keep(Protocol):
    """Takes an array of a picture, and gives what stands for it in a document."""

    def __call__(self, array: ArrayLike, *role: Any, coding: Coding = "f4") -> dict[str, int]:
        """``{"array": index}``.

        Args:
            array: Any shape.
            *role: What it is, the same words at every position of the sliders: arrays of one role are alike.
            coding: How exactly it has to be kept; never less than that.
        """


class Picture:
    """A frozen value that can be seen. Kinds are frozen dataclasses that derive from it.

    Attributes:
        kind: Its name, in documents and in ``js/src/pictures``.
        drawn: Whether it is a drawing rather than text: that comes first where there is room for one.
    """

    kind: ClassVar[str]
    drawn: ClassVar[bool] = True

    def plain(self, keep: Keep) -> dict[str, Any]:
        """What a document holds of it: JSON values; its arrays by way of ``keep``."""
        raise NotImplementedError

    def thin(self, step: int) -> Picture:
        """The same with every so manieth pixel, which it says; itself where it has none."""
        return self

    def lean(self) -> Picture:
        """The same without what only a live picture shows."""
        return self

    def still(self) -> Figure | None:
        """As matplotlib draws it; None where there is nothing to draw yet."""
        return None

    def over(self, base: Self) -> Self:
        """This picture as a layer on another of its kind; by default it covers that."""
        return self

    def called(self, title: str) -> Picture:
        """The same with a sentence that tells what it shows, where it has none of its own."""
        return self

    def hold(self, held: Mapping[str, Any]) -> Picture:
        """The same as a person has turned it, where it can be turned."""
        return self

    def judge(self) -> Check | None:
        """Whether what it claims of itself is so; None where it claims nothing."""
        return None


P = TypeVar("P", bound=type[Picture])
T = TypeVar("T")
KINDS: dict[str, type[Picture]] = {}
"""Name -> kind; filled by `register` from the list in ``pictures/__init__.py``."""


def register(kind: P) -> P:
    """Make a kind of picture known: by itself, or as a decorator.

    Raises:
        ValueError: It has no name of its own.
    """
    name = getattr(kind, "kind", "")
    if not name or KINDS.get(name, kind).__qualname__ != kind.__qualname__:
        raise ValueError(
            f"register: kind must be a new name, got {name!r} for {kind.__name__}. Set {kind.__name__}.kind."
        )
    KINDS[name] = kind
    return kind


def checked(picture: Any, where: str, must: Literal["be", "return"] = "return") -> Picture:
    """A picture of a kind that is registered.

    Args:
        picture: Anything.
        where: What it is, or who made it, for the message.
        must: Whether that must be or return a picture; who returns one may return None, which is not for here.

    Raises:
        TypeError: It is no picture.
        ValueError: Of a kind nobody has registered.
    """
    if not isinstance(picture, Picture):
        known = ", ".join(kind.__name__ for kind in KINDS.values())
        raise TypeError(
            f"{where} must {must} one of {known}{' or None' if must == 'return' else ''}, got "
            f"{type(picture).__name__}. Make a picture{', or return None for not now' if must == 'return' else ''}."
        )
    if picture.kind not in KINDS:
        raise ValueError(
            f"{where} must {must} a kind of picture that is registered, got {picture.kind!r}, and known are "
            f"{', '.join(KINDS)}. Call lwidgets.pictures.register({type(picture).__name__})."
        )
    return picture


def colored(items: Iterable[T]) -> tuple[T, ...]:
    """The items, those without a colour of their own with the next of the palette.

    Args:
        items: Frozen dataclasses with a field ``color``, empty for none.
    """
    colors = itertools.cycle(CYCLE)
    return tuple(item if item.color else replace(item, color=next(colors)) for item in items)  # type: ignore[attr-defined, type-var]


def numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Lists, arrays and tensors as float64.

    Raises:
        ValueError: They are no numbers.
    """
    given: Any = values
    for method in ("detach", "cpu"):  # a tensor, whatever it is attached to
        given = getattr(given, method, lambda given=given: given)()
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be numbers, got {type(values).__name__}. Pass a list, an array or a tensor."
        ) from None
    return found
