"""Doors from what stands on the left to what stands right of it: ``landscape.to_html`` and the like.

A landscape knows nothing of pages, nor a study of widgets, and neither imports what makes them. They go through a door,
and only ``lwidgets/__init__.py`` says what is behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

_BEHIND: dict[str, str] = {}


def open_to(behind: Mapping[str, str]) -> None:
    """Say what is behind doors: name -> "module:function". Nothing is imported before somebody goes through."""
    _BEHIND.update(behind)


def through(door: str) -> Any:
    """What is behind a door.

    Raises:
        KeyError: Nobody has said.
    """
    if door not in _BEHIND:
        raise KeyError(f"through: door must be one of {', '.join(_BEHIND) or 'none'}, got {door!r}. Import lwidgets.")
    module, _, name = _BEHIND[door].partition(":")
    return getattr(import_module(module), name)
