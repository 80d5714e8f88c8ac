"""Sampling: which points to evaluate, and how wrong the rest can be."""

from lwidgets.sampling.sample import Interrupted, sample, stream

__all__ = ["Interrupted", "sample", "stream"]
