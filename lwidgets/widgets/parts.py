"""What a widget consists of: its children, layouts, styles, scales, axes and marks, as far as its traits lead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ipywidgets as W
from ipywidgets.widgets import widget as _module


def parts_of(widget: W.Widget) -> list[W.Widget]:
    """The widget and all that its traits refer to, however far down; each once, what holds something before it.

    Example:
        >>> [type(part).__name__ for part in parts_of(W.HBox([W.IntSlider()]))]
        ['HBox', 'IntSlider', 'Layout', 'SliderStyle', 'Layout']
    """
    found: dict[W.Widget, None] = {}
    waiting = [widget]
    while waiting:
        part = waiting.pop()
        if part not in found:
            found[part] = None
            waiting += reversed(list(_direct(part)))
    return list(found)


def close_with_parts(widget: W.Widget) -> None:
    """Close a widget and all its parts, but for those that another open widget, of the user's own, has as well."""
    mine = dict.fromkeys(parts_of(widget))
    kept: dict[W.Widget, None] = {}
    for other in _open():
        if other not in mine:
            for part in _direct(other):
                if part in mine and part is not widget:
                    kept.update(dict.fromkeys(parts_of(part)))
    for part in reversed(list(mine)):
        if part not in kept:
            W.Widget.close(part)  # not its own, which would ask for its parts again


def _direct(widget: W.Widget) -> Iterator[W.Widget]:
    for name in widget.keys:
        yield from widgets_in(getattr(widget, name, None))
    yield from getattr(widget, "aside", ())


def widgets_in(value: Any) -> Iterator[W.Widget]:
    """The widgets in a trait's value, however deep in mappings and sequences."""
    if isinstance(value, W.Widget):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from widgets_in(each)


def _open() -> list[W.Widget]:
    return list(getattr(_module, "_instances", {}).values())
