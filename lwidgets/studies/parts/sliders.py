"""Sliders that most studies have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lwidgets.barrier import BARRIER_KINDS
from lwidgets.study.declare import Declares

TOLERANCE_HELP = "Largest error of an interpolated value, relative to the range; 0 measures all"


def add_metric(study: Declares, names: Sequence[str]) -> None:
    """Which metric is drawn."""
    study.slider("metric", names[0], options=tuple(names))


def add_data(study: Declares, data: Sequence[str]) -> None:
    """On which data; the last is shown first, as held-out data are."""
    study.slider("data", data[-1], options=tuple(data))


def add_tolerance(study: Declares, value: float) -> None:
    """How exact the picture is to be."""
    study.slider("tolerance", value, low=0.0, high=1.0, help=TOLERANCE_HELP)


def add_barrier(study: Declares) -> None:
    """Of which definition barriers are."""
    told = "Over the chord, over the mean of the ends, or of the error"
    study.slider("barrier", "excess", options=BARRIER_KINDS, help=told)


def add_log_height(study: Declares) -> None:
    """Whether the metric is drawn on a logarithmic scale."""
    study.slider("log_height", False, label="log height")


def scale(log_height: bool) -> Any:
    """The toggle as `Curves` takes it."""
    return "y" if log_height else ""
