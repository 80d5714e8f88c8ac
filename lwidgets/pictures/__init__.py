"""What a person sees, as values. The list of kinds is here, and nowhere else in Python."""

from __future__ import annotations

from lwidgets.pictures.base import KINDS, Picture, checked, register

__all__ = ["KINDS", "Picture", "checked", "register"]
