"""Studies: sliders -> nodes -> views and checks, a small reactive graph that a person touches.

A node, view or check is a function; its argument names are the edges. A slider that moves recomputes what depends on
it and nothing else. A view returns a picture. Nodes that are generators show what they have after every ``yield``. In
idle time, the positions next to the slider moved last are computed ahead.
"""

from __future__ import annotations

from lwidgets.check import Check, Report, Verified
from lwidgets.progress import Progress
from lwidgets.study.graph import Panel
from lwidgets.study.part import Part
from lwidgets.study.sliders import Slider
from lwidgets.study.study import Study, together
from lwidgets.study.worker import Status

__all__ = ["Check", "Panel", "Part", "Progress", "Report", "Slider", "Status", "Study", "Verified", "together"]
