"""Directions kept in half precision, through every strategy."""

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.sampling.evaluate import Local
from lwidgets.sampling.tracing import Untraceable
from tests.models import CASES

STRATEGIES = ("traced", "folded", "batched")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_what_the_loop_gives_or_is_refused(case, strategy):
    objective = case.objective()
    plane = lw.Plane.random(case.model(), (0, 1)).stored(dtype=torch.bfloat16).bound(objective.space, objective.device)
    rows = plane.coefficients(np.array([[0.3, -0.7], [-0.2, 0.4], [0.9, 0.1]]))
    mode = objective.resolve(False)
    loop = np.array(list(Local(objective, plane.basis, mode, strategy="loop")(rows)))
    try:
        found = np.array(list(Local(objective, plane.basis, mode, strategy=strategy)(rows)))
    except (Untraceable, RuntimeError):
        assert strategy != "traced"
    else:
        np.testing.assert_allclose(found, loop, rtol=1e-4)
