"""A table: rows whose first cell names them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from lwidgets.pictures.base import Keep, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _SMALL, _LINE = 5.0, 8.0, 0.2  # inches, points, and inches of a line
_ROWS = 24  # of a still
_LETTERS = 26  # of a cell of a still


@dataclass(frozen=True, eq=False)
class Table(Picture):
    """Rows of text.

    Attributes:
        head: Names of the columns.
        rows: As many cells each; the first one names the row.
        title: What it shows.
        colors: Of a bar before each row, as its curve has; by default none.
        chosen: The row that is on show elsewhere, in bold.
        notes: Sentences below.
        folded: Whether only the title is on show until a reader opens it.

    Example:
        >>> Table(("path", "barrier"), [("straight", "0.9"), ("aligned", "0.1")], title="Barriers").rows[1][0]
        'aligned'
    """

    kind: ClassVar[str] = "table"
    drawn: ClassVar[bool] = False

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    colors: Sequence[str] = ()
    chosen: int | None = None
    notes: Sequence[str] = ()
    folded: bool = False

    def __post_init__(self) -> None:
        """Check that rows and head fit.

        Raises:
            ValueError: A row with another number of cells.
        """
        object.__setattr__(self, "head", tuple(map(str, self.head)))
        object.__setattr__(self, "rows", tuple(tuple(map(str, row)) for row in self.rows))
        for k, row in enumerate(self.rows):
            if len(row) != len(self.head):
                raise ValueError(
                    f"Table: rows must have {len(self.head)} cells, as the head has, got {len(row)} at {k}. "
                    'Use "" for an empty cell.'
                )

    def called(self, title: str) -> Table:
        """With a title."""
        return self if self.title else replace(self, title=title)

    def plain(self, keep: Keep) -> dict[str, Any]:
        """See `Picture.plain`."""
        return {
            "title": self.title,
            "head": list(self.head),
            "rows": [list(row) for row in self.rows],
            "colors": list(self.colors),
            "chosen": self.chosen,
            "notes": list(self.notes),
            "folded": self.folded,
        }

    def still(self) -> Figure | None:
        """Its first rows, as a figure."""
        from lwidgets.pictures.stills import Still

        shown = [[textwrap.shorten(cell, _LETTERS, placeholder="…") for cell in row] for row in self.rows[:_ROWS]]
        notes = [*self.notes, *([f"and {len(self.rows) - _ROWS} more rows"] if len(self.rows) > _ROWS else [])]
        told = "\n".join(textwrap.fill(note, 90) for note in notes)
        lines = len(shown) + 2 + told.count("\n") + bool(told) + 1
        still = Still(figsize=(_WIDTH, _LINE * lines))
        axes = still.add_axes((0.02, 0, 0.96, 1))
        axes.set_axis_off()
        letters: dict[str, Any] = {"fontsize": _SMALL, "parse_math": False, "va": "top"}
        top = 1 - 0.3 / lines
        axes.text(0, top, textwrap.shorten(self.title, 90, placeholder="…"), fontweight="bold", **letters)
        widths = [max(len(cell) for cell in column) + 2 for column in zip(self.head, *shown, strict=True)]
        starts = [sum(widths[:k]) / sum(widths) for k in range(len(widths))]
        for line, row in enumerate([self.head, *shown], start=1):
            at = top - line / lines
            for start, cell in zip(starts, row, strict=True):
                axes.text(start + 0.02, at, cell, color="#555" if line == 1 else "black", **letters)
            if 1 < line <= len(self.colors) + 1 and self.colors[line - 2]:
                axes.plot([0, 0], [at - 0.7 / lines, at], color=self.colors[line - 2], linewidth=3)
        axes.text(0, top - (len(shown) + 2.1) / lines, told, color="#555", **letters)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        return still
