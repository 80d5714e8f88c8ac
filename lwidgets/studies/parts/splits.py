"""Training and held-out data, side by side."""

from __future__ import annotations

from typing import Any

from lwidgets.objective import Objective


def splits(objective: Objective, test: Any = None) -> dict[str, Objective]:
    """Name of the data -> the objective on them: "train" and "test" where there is held-out data, else "data".

    Raises:
        ValueError: As `beside_cells`.
    """
    beside_cells(objective)
    held_out = objective.test if test is None else objective.on(test, split="test")
    return {"data": objective} if held_out is None else {"train": objective, "test": held_out}


def beside_cells(objective: Objective) -> None:
    """Check that an objective can be evaluated while the user's cells run.

    Raises:
        ValueError: It uses random generators that those share.
    """
    if objective.shared:
        raise ValueError(
            f"Explorer: loss must leave {' and '.join(objective.shared)} alone, which a cell that runs beside the "
            "explorer would share with it, got a loss or model that draws or seeds there. Draw from a generator made "
            "in the loss, np.random.default_rng(0), random.Random(0) or torch.Generator().manual_seed(0), or use "
            "lw.sample, which puts them back."
        )


def in_words(data: str) -> str:
    """What a reader calls one of them.

    >>> in_words("test"), in_words("data")
    ('test data', 'data')
    """
    return "data" if data == "data" else f"{data} data"
