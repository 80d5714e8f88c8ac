"""What lies on a surface: named places, and lines through the plane."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lwidgets.pictures.base import numbers

_HEX = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Marker:
    """A named place.

    Attributes:
        x: Along the first axis.
        y: Along the second.
        label: Beside it.
    """

    x: float
    y: float
    label: str = ""

    def __post_init__(self) -> None:
        """Check the place.

        Raises:
            ValueError: It is not finite.
        """
        if not np.isfinite([self.x, self.y]).all():
            raise ValueError(
                f"Marker: x and y must be finite, got ({self.x:g}, {self.y:g}) for {self.label!r}. Leave it out."
            )


@dataclass(frozen=True, eq=False)
class Path:
    """A line through points of the plane.

    Attributes:
        x: Along the first axis, shape (n,), two or more, finite.
        y: Along the second, shape (n,).
        label: In the legend; empty for none.
        color: As #rrggbb; by default the next of the palette.
        dashed: For one whose loss is not that of the picture below it.
        time: Of each point, shape (n,), as the step of a training run.
        loss: At each point itself, shape (n,); the picture below has that of the plane.
        residual: How far each point is off the plane, shape (n,), in the unit of the parameters.
    """

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    color: str = ""
    dashed: bool = False
    time: ArrayLike | None = None
    loss: ArrayLike | None = None
    residual: ArrayLike | None = None

    def __post_init__(self) -> None:
        """Take the numbers as float64.

        Raises:
            ValueError: Coordinates or what is told of each point do not fit, or a colour of another form.
        """
        name = f"Path{f' {self.label!r}' if self.label else ''}"
        for part in ("x", "y", "time", "loss", "residual"):
            if getattr(self, part) is not None:
                object.__setattr__(self, part, numbers(getattr(self, part), f"{name}: {part}"))
        x, y = np.asarray(self.x), np.asarray(self.y)
        for part, along in (("x", x), ("y", y)):
            if along.ndim != 1 or len(along) < 2 or not np.isfinite(along).all():
                got = f"shape {along.shape}" if along.ndim != 1 or len(along) < 2 else _first_gap(along)
                raise ValueError(f"{name}: {part} must hold two or more finite numbers, got {got}. Leave out the rest.")
        for part in ("y", "time", "loss", "residual"):
            along = getattr(self, part)
            if along is not None and along.shape != x.shape:
                raise ValueError(f"{name}: {part} must be as long as x, {x.shape}, got {along.shape}. Pass one each.")
        if self.color != "" and not (isinstance(self.color, str) and _HEX.fullmatch(self.color)):
            raise ValueError(f"{name}: color must be #rrggbb, got {self.color!r}. lwidgets.palette has some.")


def _first_gap(along: NDArray[np.float64]) -> str:
    """The first number that is not finite, and where it is."""
    at = int(np.flatnonzero(~np.isfinite(along))[0])
    return f"{along[at]:g} at index {at}"
