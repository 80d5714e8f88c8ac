"""Words: a reading, a note, or why something is not there."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from lwidgets.pictures.base import Keep, Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tone = Literal["plain", "note", "alert"]
_WIDTH, _SMALL, _LETTERS, _LINE = 5.0, 8.0, 90, 0.17  # inches, points, letters a line, inches a line


@dataclass(frozen=True, eq=False)
class Words(Picture):
    """A few sentences.

    Attributes:
        text: Plain text; lines as they are.
        title: In bold before it.
        tone: "plain"; "note", small; or "alert", which a screen reader says at once.

    Example:
        >>> Words("loss 0.3 (measured)", title="alpha 0.5").title
        'alpha 0.5'
    """

    kind: ClassVar[str] = "words"
    drawn: ClassVar[bool] = False

    text: str
    title: str = ""
    tone: Tone = "plain"

    def __post_init__(self) -> None:
        """Check the tone.

        Raises:
            ValueError: Another tone.
        """
        if self.tone not in get_args(Tone):
            raise ValueError(f"Words: tone must be one of {', '.join(get_args(Tone))}, got {self.tone!r}. Use one.")

    def plain(self, keep: Keep) -> dict[str, Any]:
        """See `Picture.plain`."""
        return {"text": str(self.text), "title": self.title, "tone": self.tone}

    def still(self) -> Figure | None:
        """The words as a figure."""
        from lwidgets.pictures.stills import Still

        whole = f"{self.title}: {self.text}" if self.title else str(self.text)
        if not whole.strip():
            return None
        lines = [part for line in whole.splitlines() for part in textwrap.wrap(line, _LETTERS) or [""]]
        still = Still(figsize=(_WIDTH, _LINE * (len(lines) + 1)))
        still.text(0.02, 0.97, "\n".join(lines), va="top", fontsize=_SMALL, parse_math=False)
        return still
