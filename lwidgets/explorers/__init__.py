"""Ready-made studies: a curve between two models, a surface around one."""

from lwidgets.explorers.curve import CurveExplorer
from lwidgets.explorers.surface import SurfaceExplorer

__all__ = ["CurveExplorer", "SurfaceExplorer"]
