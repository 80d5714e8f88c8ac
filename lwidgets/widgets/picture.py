"""One widget for every kind of picture: the value goes to the browser, which asks its list of kinds to draw it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import ArrayLike

from lwidgets.assets import script
from lwidgets.pictures import Picture, checked


class PictureView(anywidget.AnyWidget):
    """A picture on show.

    Arrays cross once: ``arrays`` holds those of the newest picture by a number that stays as long as their content
    does, and ``picture`` refers to them, so that a marker that moves over a surface sends no surface.

    Attributes:
        picture: Kind and plain values, from `show`; ``{}`` before the first. Its ``tag`` counts what was shown, so that
            who watches the screen knows what is painted.
        arrays: Number -> coding, shape and bytes; set before the picture that refers to them.
        held: What a person holds: the ``camera`` of a surface, ``yaw`` and ``pitch`` in radians and ``zoom``; the
            pinned ``point``, ``[x, y]`` in the units of the axes, or ``[]``.
    """

    _esm = script("picture.js").read_text(encoding="utf-8")  # a path would keep every widget alive

    picture = traitlets.Dict().tag(sync=True)
    arrays = traitlets.Dict().tag(sync=True)
    held = traitlets.Dict().tag(sync=True, echo_update=False)

    def __init__(self, **kwargs: Any) -> None:
        # In a row of widgets nothing else asks for a width: the picture adapts to what it is given.
        super().__init__(**{"layout": {"width": "100%", "min_width": "280px"}, **kwargs})
        self._numbers, self._tags = itertools.count(), itertools.count(1)
        self._sent: dict[tuple[Any, ...], int] = {}  # what the browser has, by its content

    def show(self, picture: Picture) -> None:
        """Draw a picture.

        Raises:
            TypeError: It is none.
            ValueError: Of a kind nobody has registered.
        """
        sent: dict[tuple[Any, ...], int] = {}
        arrays: dict[str, dict[str, Any]] = {}

        def keep(array: ArrayLike, *role: Any, coding: str = "f4") -> dict[str, int]:
            packed = _packed(array, coding)
            key = packed["coding"], *packed["shape"], packed["data"]
            if key not in sent:
                sent[key] = self._sent[key] if key in self._sent else next(self._numbers)
                arrays[str(sent[key])] = packed
            return {"array": sent[key]}

        plain = checked(picture, "PictureView.show: picture", "be").plain(keep)
        self._sent = sent
        if arrays.keys() != self.arrays.keys():
            self.arrays = arrays
        shown = {"kind": picture.kind, **plain, "tag": self.picture.get("tag", 0)}
        if shown != self.picture:
            self.picture = {**shown, "tag": next(self._tags)}

    @traitlets.validate("held")
    def _valid_held(self, proposal: Mapping[str, Any]) -> dict[str, Any]:
        held: dict[str, Any] = proposal["value"]
        point = held.get("point", [])
        if len(point) not in (0, 2) or not np.isfinite(point).all():
            raise traitlets.TraitError(
                f"PictureView: point must be [x, y] with finite numbers, or [], got {point}. "
                "Pass [] to unpin the point."
            )
        return held


def _packed(array: ArrayLike, coding: str) -> dict[str, Any]:
    with np.errstate(over="ignore"):  # beyond float32 a value is drawn as the infinity it would show as
        numbers = np.ascontiguousarray(array, dtype=np.uint8 if coding == "u1" else "<f4")
    return {"coding": "u1" if coding == "u1" else "f4", "shape": list(numbers.shape), "data": numbers.tobytes()}
