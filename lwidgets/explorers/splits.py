"""Training and held-out data, side by side."""

from __future__ import annotations

from typing import Any

from lwidgets.objective import Objective


def splits(objective: Objective, test: Any = None) -> dict[str, Objective]:
    """Name of the data -> the objective on them: "train" and "test" where there is held-out data, else "data"."""
    held_out = objective.test if test is None else objective.on(test, split="test")
    return {"data": objective} if held_out is None else {"train": objective, "test": held_out}


def in_words(data: str) -> str:
    """What a reader calls one of them.

    >>> in_words("test"), in_words("data")
    ('test data', 'data')
    """
    return "data" if data == "data" else f"{data} data"
