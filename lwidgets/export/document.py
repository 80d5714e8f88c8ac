"""Companions: what one person explored live, for readers who have no kernel.

A companion document holds what the panels of a study show at every position of the sliders that stay alive. It is JSON,
drawn by ``js/src/document/companion.ts`` in a page of its own or in JupyterLab.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from lwidgets.export.arrays import ArrayTable
from lwidgets.export.recording import Recording
from lwidgets.pictures import Picture
from lwidgets.pictures.base import Coding, checked
from lwidgets.study.sliders import Slider, value_text

FORMAT = "lwidgets.companion"
MIME = "application/vnd.lwidgets.companion.v2+json"

_RECORDED = "recorded"
_LONG = 10_000  # characters of a text; nobody reads more, and a file must not be made of it


def document(recordings: Sequence[Recording], title: str, *, exact: bool = False, still: str = "") -> dict[str, Any]:
    """The companion document of some studies.

    Args:
        recordings: The studies at all their positions.
        title: Of the whole.
        exact: Keep float32 values; otherwise they are rounded to 65,533 steps over their range, or over that of their
            logarithm where that is on show; see `ArrayTable`.
        still: A picture as a ``data:`` URI, for a reader that lacks something of what this document ``needs``.

    Returns:
        Plain JSON values.
    """
    arrays = ArrayTable()
    studies = [_study(k, recording, arrays, exact) for k, recording in enumerate(recordings)]
    specs, data = arrays.encoded()
    kinds = {panel.kind: None for recording in recordings for panel in recording.panels}
    return {
        "format": FORMAT,
        "needs": [*kinds, _RECORDED],
        "title": _cut(title),
        **({"still": still} if still else {}),
        "studies": studies,
        "arrays": specs,
        "data": base64.b64encode(data).decode("ascii"),
    }


def size_of(recordings: Sequence[Recording]) -> int:
    """Bytes of the document."""
    return len(json.dumps(document(recordings, "")))


def _study(index: int, recording: Recording, arrays: ArrayTable, exact: bool) -> dict[str, Any]:
    pictures: dict[str, int] = {}  # equal pictures are kept once
    kept: list[dict[str, Any]] = []
    frames = []
    for frame in recording.frames:
        told: list[int | None] = []
        for panel, picture in enumerate(frame):
            if picture is None:
                told.append(None)
                continue
            plain = _plain(picture, arrays, (index, panel), exact)
            key = json.dumps(plain, sort_keys=True)
            if key not in pictures:
                pictures[key] = len(kept)
                kept.append(plain)
            told.append(pictures[key])
        frames.append(told)
    return {
        "title": _cut(recording.title),
        **{name: _cut(words) for name, words in recording.words.items()},
        "sliders": [
            {
                "name": slider.name,
                "label": slider.title,
                "kind": "choice" if slider.kind == "bank" else slider.kind,
                "positions": _positions(slider, recording.positions[slider.name]),
                "start": recording.starts[slider.name],
                "between": recording.between[slider.name],
                "help": _cut(slider.help),
                **{name: True for name in ("log", "play") if getattr(slider, name)},
            }
            for slider in recording.sliders
        ],
        "fixed": [
            {"label": slider.title, "value": _cut(value_text(slider, value))} for slider, value in recording.fixed
        ],
        "panels": [{"name": one.name, "kind": one.kind, "beside": one.beside} for one in recording.panels],
        "frames": {"kind": _RECORDED, "pictures": frames},
        "pictures": kept,
        "checks": [
            {"name": _cut(name), "state": check.state, "detail": _cut(check.detail)}
            for name, check in recording.checks.items()
        ],
    }


def _positions(slider: Slider, values: Sequence[Any]) -> list[Any]:
    """As JSON; a bank is chosen from a list, by its words."""
    return [value_text(slider, value) for value in values] if slider.kind == "bank" else list(values)


def _plain(picture: Picture, arrays: ArrayTable, panel: tuple[int, int], exact: bool) -> dict[str, Any]:
    """A picture as JSON, its arrays in the table."""

    def keep(array: ArrayLike, *role: Any, coding: Coding = "f4") -> dict[str, int]:
        return {"array": arrays.add(array, "f4" if exact and coding != "u1" else coding, (*panel, *role))}

    found: dict[str, Any] = _short(checked(picture, "document: picture of a panel", "be").plain(keep))
    return found


def _short(value: Any) -> Any:
    """JSON values with every text cut to what somebody may read."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list | tuple) else value


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text):,} characters)"
