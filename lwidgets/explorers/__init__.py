"""Ready-made studies: a curve between two models, a surface around one, a mixture of two layer by layer."""

from lwidgets.explorers.curve import CurveExplorer
from lwidgets.explorers.layers import LayerwiseExplorer
from lwidgets.explorers.surface import SurfaceExplorer

__all__ = ["CurveExplorer", "LayerwiseExplorer", "SurfaceExplorer"]
