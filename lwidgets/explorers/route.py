"""A way between two models, and what is evaluated on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lwidgets.objective import Objective
from lwidgets.subspaces import Subspace


@dataclass(frozen=True)
class Route:
    """A way from one model to the other.

    Attributes:
        path: Of one coordinate.
        objectives: Data -> what is evaluated on it; a repaired network has layers that the models have not.
    """

    path: Subspace
    objectives: Mapping[str, Objective]
