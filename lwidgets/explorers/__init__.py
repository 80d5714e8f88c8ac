"""Ready-made studies: a curve between two models, a surface around one, how two are connected, their mixtures."""

from lwidgets.explorers.connectivity import ConnectivityExplorer
from lwidgets.explorers.curve import CurveExplorer
from lwidgets.explorers.layers import LayerwiseExplorer
from lwidgets.explorers.surface import SurfaceExplorer

__all__ = ["ConnectivityExplorer", "CurveExplorer", "LayerwiseExplorer", "SurfaceExplorer"]
