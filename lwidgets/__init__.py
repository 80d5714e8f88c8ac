"""lwidgets: hold a neural network's loss landscape in your hand.

The computing half (objective, subspaces, sampling, landscape) imports no widget library; the explorers are loaded on
first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lwidgets import demo, distances, merging, metrics, symmetry, weights
from lwidgets.barrier import Barrier, barrier_of
from lwidgets.connectivity.attribution import attribution
from lwidgets.connectivity.butterfly import butterfly
from lwidgets.connectivity.connect import connect, connector, simplexes
from lwidgets.connectivity.curvature_identity import curvature_identity
from lwidgets.connectivity.marginal_barrier import Posterior, marginal_path
from lwidgets.connectivity.simplex_barrier import simplex_barrier
from lwidgets.directions import Gaussian, Given
from lwidgets.doors import open_to
from lwidgets.features import features
from lwidgets.gradients import DifferentiableLoss
from lwidgets.landscape import Landscape, load
from lwidgets.noise import frozen_noise
from lwidgets.objective import Objective
from lwidgets.parameters import State
from lwidgets.pictures import Curves, Marker, Path, Reference, Rule, Series, Surface, Table, Words
from lwidgets.sampling import Cache, Interrupted, polish_barrier, sample, stream
from lwidgets.study import Check, Part, Study
from lwidgets.subspaces import Bezier, Chain, Layerwise, Line, Plane, Simplex, Subspace
from lwidgets.symmetry.align import Alignment, align, align_many
from lwidgets.symmetry.repair import repair
from lwidgets.version import __version__

if TYPE_CHECKING:
    from lwidgets.explorers import (
        ConnectivityExplorer,
        CurveExplorer,
        LayerwiseExplorer,
        MergingExplorer,
        SurfaceExplorer,
    )
    from lwidgets.export.write import write_page
    from lwidgets.widgets.study import StudyWidget

__all__ = [
    "Alignment",
    "Barrier",
    "Bezier",
    "Cache",
    "Chain",
    "Check",
    "ConnectivityExplorer",
    "CurveExplorer",
    "Curves",
    "DifferentiableLoss",
    "Gaussian",
    "Given",
    "Interrupted",
    "Landscape",
    "Layerwise",
    "LayerwiseExplorer",
    "Line",
    "Marker",
    "MergingExplorer",
    "Objective",
    "Part",
    "Path",
    "Plane",
    "Posterior",
    "Reference",
    "Rule",
    "Series",
    "Simplex",
    "State",
    "Study",
    "StudyWidget",
    "Subspace",
    "Surface",
    "SurfaceExplorer",
    "Table",
    "Words",
    "__version__",
    "align",
    "align_many",
    "attribution",
    "barrier_of",
    "butterfly",
    "connect",
    "connector",
    "curvature_identity",
    "demo",
    "distances",
    "features",
    "frozen_noise",
    "load",
    "marginal_path",
    "merging",
    "metrics",
    "polish_barrier",
    "repair",
    "sample",
    "simplex_barrier",
    "simplexes",
    "stream",
    "symmetry",
    "weights",
    "write_page",
]

open_to(
    {
        "landscape.bundle": "lwidgets.export.mime:bundle",
        "landscape.figure": "lwidgets.pictures.stills:figure",
        "landscape.png": "lwidgets.pictures.stills:png",
        "landscape.svg": "lwidgets.pictures.stills:svg",
        "landscape.to_html": "lwidgets.export.write:landscape_to_html",
        "page widgets": "lwidgets.widgets.embed:states",
        "progress bar": "lwidgets.widgets.progress:progress_bar",
        "study.show": "lwidgets.widgets.study:StudyWidget",
        "study.to_html": "lwidgets.export.write:study_to_html",
    }
)

_LAZY = {
    "ConnectivityExplorer": "lwidgets.explorers",
    "CurveExplorer": "lwidgets.explorers",
    "LayerwiseExplorer": "lwidgets.explorers",
    "MergingExplorer": "lwidgets.explorers",
    "SurfaceExplorer": "lwidgets.explorers",
    "StudyWidget": "lwidgets.widgets.study",
    "write_page": "lwidgets.export.write",
}


def __getattr__(name: str) -> Any:
    """Load what needs a widget library when it is asked for."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lwidgets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
