"""The barrier in a CurveExplorer: polished once the curve is final, drawn where it is, told in words."""

import numpy as np
import pytest

import lwidgets as lw
from lwidgets.sampling.polish import polish_barrier
from tests.studies.reading import picture

WAIT = 60


@pytest.fixture(scope="module")
def digits():
    return lw.demo.digits(hidden=(16,), steps=60)


@pytest.fixture
def curve(digits):
    explorer = lw.CurveExplorer(*digits, resolution=33, alpha=0.11)
    assert explorer.wait(WAIT)
    yield explorer
    explorer.close()


def drawn_line(curve):
    """Foot and top of the upright line of the barrier, and its alpha."""
    solid = [one for one in picture(curve, "curves_picture").strokes if one.style == "solid"]
    upright = [one for one in solid if np.size(one.x) == 2 and np.ptp(one.x) == 0]
    assert len(upright) == 1
    return upright[0].x[0], *upright[0].y


@pytest.mark.parametrize("kind", ["excess", "mean", "error"])
def test_both_splits_are_polished_and_the_first_is_drawn_at_its_alpha(curve, digits, kind):
    objective, a, b = digits
    metric = "error" if kind == "error" else "loss"
    curve.barrier, curve.metric = kind, metric
    found = curve.barriers
    for split, one in {"train": objective, "test": objective.test}.items():
        again = polish_barrier(one, lw.Line(a, b), curve.landscapes[split], kind=kind)
        assert (found[split].value, found[split].alpha) == pytest.approx((again.value, again.alpha))
        assert (found[split].split, found[split].evaluations) == (split, again.evaluations)
        assert f"{split} {again.value:.5g} ± " in picture(curve, "curves_picture").caption
    first = found["train"]
    start, end = (objective.measure(model)[metric] for model in (a, b))
    foot = (1 - first.alpha) * start + first.alpha * end if kind == "excess" else (start + end) / 2
    assert drawn_line(curve) == pytest.approx((first.alpha, foot, foot + first.value), rel=1e-5)


def test_the_sampled_barrier_is_painted_first_unless_the_polished_one_is_remembered(curve):
    words = []
    curve.study.watch(
        lambda study, name: (
            words.append(study.pictures["curves_picture"].caption) if name == "barrier_picture" else None
        )
    )
    for kind, remembered in (("mean", False), ("excess", True)):  # the second was polished before
        words.clear()
        curve.barrier = kind
        assert curve.wait(WAIT)
        assert ("polished" in words[0]) is remembered
        assert len([text for text in words if "polished" in text]) == (1 if remembered else 2)  # one for each split
        assert words[-1].count(", polished by") == 2
        assert drawn_line(curve)[0] == curve.barriers["train"].alpha
        assert curve.barriers["train"].alpha not in curve.landscape.coords[0]


def test_alpha_moves_without_polishing_again_and_a_kind_without_a_new_curve(curve):
    before, landscape = curve.study["barriers"], curve.landscape
    curve.alpha = 0.75
    assert curve.wait(WAIT)
    assert curve.study["barriers"] is before
    curve.barrier = "mean"
    assert curve.wait(WAIT)
    assert curve.study["barriers"] is not before
    assert curve.landscape is landscape


def test_logarithmic_height_shows_the_same_barrier(curve):
    linear = curve.barriers["train"]
    curve.log_height = True
    assert curve.barriers["train"].value == pytest.approx(linear.value, rel=1e-4)
    assert drawn_line(curve)[2] - drawn_line(curve)[1] == pytest.approx(linear.value, rel=1e-4)


def test_a_barrier_that_needs_no_evaluation_mentions_none(digits):
    objective, a, _ = digits
    flat = lw.CurveExplorer(objective, a, a, resolution=9)
    assert flat.wait(WAIT)
    assert [(one.value, one.evaluations) for one in flat.barriers.values()] == [(0.0, 0), (0.0, 0)]
    assert "polished" not in picture(flat, "curves_picture").caption
    flat.close()
