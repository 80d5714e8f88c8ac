"""Ready-made studies: a curve between two models, a surface around one, how two are connected, mixed and merged."""

from lwidgets.explorers.connectivity import ConnectivityExplorer
from lwidgets.explorers.curve import CurveExplorer
from lwidgets.explorers.layers import LayerwiseExplorer
from lwidgets.explorers.merging import MergingExplorer
from lwidgets.explorers.surface import SurfaceExplorer

__all__ = ["ConnectivityExplorer", "CurveExplorer", "LayerwiseExplorer", "MergingExplorer", "SurfaceExplorer"]
