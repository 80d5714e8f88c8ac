"""Ready-made studies: a curve between two models, a surface around one, how two are connected, mixed and merged."""

from lwidgets.studies.connectivity import ConnectivityExplorer
from lwidgets.studies.curve import CurveExplorer
from lwidgets.studies.layers import LayerwiseExplorer
from lwidgets.studies.merging import MergingExplorer
from lwidgets.studies.surface import SurfaceExplorer

__all__ = ["ConnectivityExplorer", "CurveExplorer", "LayerwiseExplorer", "MergingExplorer", "SurfaceExplorer"]
