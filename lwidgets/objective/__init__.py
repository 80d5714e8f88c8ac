"""What is evaluated: parameter points -> named metrics. One protocol, and two siblings that keep it.

`Objective` (base.py) is an abstract base: it holds what sampling and whatever is right of it need, and the two public
doors. ``Objective(model, data, loss=...)`` makes a `ModelObjective` (model.py), ``Objective.from_function(f, dim)`` a
`FunctionObjective` (analytic.py); both are `Objective`, neither is the other. A base with a registry of siblings was
chosen over a `typing.Protocol`, because one name is to be door, type and ``isinstance`` at once, and over a union,
because a third sibling (a remote model, a table) then needs no change anywhere: see `Objective` for what it defines.
"""

from __future__ import annotations

from lwidgets.objective.analytic import FunctionObjective
from lwidgets.objective.base import Objective
from lwidgets.objective.model import ModelObjective, modelled

__all__ = ["FunctionObjective", "ModelObjective", "Objective", "modelled"]
