"""Sampling: which points to evaluate, and how wrong the rest can be."""

from lwidgets.sampling.sample import EvaluationError, Interrupted, sample, stream

__all__ = ["EvaluationError", "Interrupted", "sample", "stream"]
