"""Symmetries: which reparametrisations leave a network as it is."""

from lwidgets.symmetry.canonical import Canonical, canonical, recast
from lwidgets.symmetry.certify import certify
from lwidgets.symmetry.derive import derive
from lwidgets.symmetry.elements import Element, Group, Level, Matrix, Permutation
from lwidgets.symmetry.matching import Match, match_weights
from lwidgets.symmetry.spec import Axis, Certificate, Factor, Lowered, Pinned, Spec, Sum, blocks

__all__ = [
    "Axis",
    "Canonical",
    "Certificate",
    "Element",
    "Factor",
    "Group",
    "Level",
    "Lowered",
    "Match",
    "Matrix",
    "Permutation",
    "Pinned",
    "Spec",
    "Sum",
    "blocks",
    "canonical",
    "certify",
    "derive",
    "match_weights",
    "recast",
]
