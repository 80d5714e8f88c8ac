"""A table below a picture, as HTML that a screen reader can walk."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_CHOSEN = ' style="font-weight: bold" aria-current="true"'
_SCROLLS = "overflow-x: auto; width: 0; min-width: calc(100% - 24px)"  # within, instead of widening what it is in
_WHOLE, _SHORT = "; white-space: nowrap", 24  # letters of a cell that is not broken into lines
_CELL = "padding: 0 8px; text-align: left"


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    colors: Sequence[str] = (),
    chosen: int | None = None,
) -> str:
    """Rows whose first cell names them.

    Args:
        caption: What it shows; plain text, as all cells.
        head: Names of the columns.
        rows: As many cells each.
        colors: Of a bar before each row, as its curve has; by default none.
        chosen: The row that is on show, in bold.
    """
    cells = "".join(f'<th scope="col" style="{_CELL}">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f"<tr{_CHOSEN if i == chosen else ''}>"
        f'<th scope="row" style="{_CELL}; font-weight: inherit{_bar(colors, i)}">{escape(name)}</th>'
        + "".join(f'<td style="{_CELL}{_WHOLE if len(cell) <= _SHORT else ""}">{escape(cell)}</td>' for cell in row)
        + "</tr>"
        for i, (name, *row) in enumerate(rows)
    )
    return (
        f'<p style="margin: 4px 20px; line-height: 1.5">{escape(caption)}</p>'
        f'<div style="{_SCROLLS}; margin: 4px 12px; line-height: 1.5"><table class="lwidgets-readout" '
        f'aria-label="{escape(caption)}"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def alert(what: str, why: str) -> str:
    """Why something is not there, as HTML; nothing for no reason."""
    return f'<p role="alert" style="margin: 4px 12px"><b>{escape(what)}.</b> {escape(why)}</p>' if why else ""


def _bar(colors: Sequence[str], i: int) -> str:
    return f"; border-left: 6px solid {colors[i]}" if i < len(colors) else ""
