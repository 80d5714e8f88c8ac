"""What a person sees, as values. The list of kinds is here, and nowhere else in Python."""

from __future__ import annotations

from lwidgets.pictures.base import KINDS, Keep, Picture, checked, register
from lwidgets.pictures.curves import Curves, Reference, Rule, Series
from lwidgets.pictures.marks import Marker, Path
from lwidgets.pictures.surface import Surface
from lwidgets.pictures.table import Table
from lwidgets.pictures.words import Words

for _kind in (Surface, Curves, Table, Words):
    register(_kind)

__all__ = [
    "KINDS",
    "Curves",
    "Keep",
    "Marker",
    "Path",
    "Picture",
    "Reference",
    "Rule",
    "Series",
    "Surface",
    "Table",
    "Words",
    "checked",
    "register",
]
