"""What is read off curves: a place on all of them, and a barrier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lwidgets.barrier import Barrier
from lwidgets.landscape import Landscape, drawable
from lwidgets.pictures import Rule, Series, Words
from lwidgets.pictures.curves import Item
from lwidgets.study import Study


def marks_at(alpha: float, curves: Iterable[tuple[str, Landscape]], metric: str, log_height: bool) -> list[Item]:
    """A rule at alpha, and a dot on each curve that goes there; curves with their colours."""
    dots = [
        Series([alpha], drawable([one.at(alpha)[metric]], log_height), "", color, "points", width=10)
        for color, one in curves
        if one.coords[0][0] <= alpha <= one.coords[0][-1]
    ]
    return [Rule(x=alpha), *dots]


def barrier_or_why(find: Callable[..., Barrier], *arguments: Any, **options: Any) -> Barrier | str:
    """A barrier, or why there is none: the picture is right, and the caption tells."""
    try:
        return find(*arguments, **options)
    except ValueError as error:
        return str(error)


def accuracies(study: Study, node: str, *, between: str = ": ") -> str:
    """How exact the curves of a node are, for the status line.

    Args:
        study: With sliders metric and log_height.
        node: Name -> landscape; nothing is said before there are some.
        between: A name and what is said of it.
    """
    curves: Mapping[str, Landscape] = study.get(node, {})
    metric, log = study["metric"], study["log_height"]
    return "; ".join(f"{name}{between}{one.accuracy(metric, log=log)}".lstrip() for name, one in curves.items())


def measured_words(title: str, values: Mapping[str, float], more: str = "") -> Words:
    """What was measured at a place.

    >>> measured_words("alpha 0.5", {"loss": 0.25}).text
    'loss 0.25 (measured)'
    """
    return Words(f"{', '.join(f'{name} {value:.4g}' for name, value in values.items())} (measured){more}", title=title)
