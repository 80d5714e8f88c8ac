"""What an ATen operation asks of the axes of its arguments, and what axes it returns: a rule for each operation."""

from lwidgets.symmetry.rules import products, sums  # noqa: F401  they register their rules
from lwidgets.symmetry.rules.base import FRESH, RULES, STRUCTURAL
from lwidgets.symmetry.rules.entries import pointwise
from lwidgets.symmetry.rules.moves import ZEROS

__all__ = ["FRESH", "RULES", "STRUCTURAL", "ZEROS", "pointwise"]
