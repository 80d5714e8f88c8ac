"""Sampling: which points to evaluate, and how wrong the rest can be."""

from lwidgets.sampling.cache import Cache
from lwidgets.sampling.polish import polish_barrier
from lwidgets.sampling.sample import Interrupted, sample, stream

__all__ = ["Cache", "Interrupted", "polish_barrier", "sample", "stream"]
