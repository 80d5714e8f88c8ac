"""Barriers against closed forms, each definition with its own number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lwidgets as lw
from lwidgets.barrier import barrier_of, reference
from tests.models import MLP

ALPHA = np.linspace(0, 1, 65)
HUMP = (1 - ALPHA) + 0.5 * np.sin(np.pi * ALPHA)
TOP = np.arccos(2 / np.pi) / np.pi  # where (1 - a) + sin(pi a) / 2 is highest
CLOSED = {  # kind: (values, height, alpha)
    "hump excess": ("excess", HUMP, 0.5, 0.5),
    "hump mean": ("mean", HUMP, 0.5 - TOP + 0.5 * np.sin(np.pi * TOP), TOP),
    "hump error": ("error", HUMP, 0.5 - TOP + 0.5 * np.sin(np.pi * TOP), TOP),
    "straight excess": ("excess", 1 - ALPHA, 0.0, None),
    "straight mean": ("mean", 1 - ALPHA, 0.5, 0.0),
    "dip excess": ("excess", ALPHA * (ALPHA - 1), 0.0, None),
    "dip mean": ("mean", ALPHA * (ALPHA - 1), 0.0, None),
    "parabola off centre": ("excess", 8 * ALPHA * (1 - ALPHA) + 3 * ALPHA, 2.0, 0.5),
}


@pytest.mark.parametrize("name", CLOSED)
def test_trap_2_barriers_are_their_closed_forms(name):
    kind, values, height, alpha = CLOSED[name]
    barrier = barrier_of(ALPHA, values, kind=kind)
    assert barrier.value == pytest.approx(height, abs=1e-4)
    assert barrier.value <= height + 1e-12  # a maximum over grid points is a lower bound
    assert abs(barrier.value - height) <= barrier.error + 1e-9
    if alpha is not None:
        assert barrier.alpha == pytest.approx(alpha, abs=1 / 128 + 1e-12)


def test_trap_2_the_published_definitions_differ_on_the_same_curve():
    assert barrier_of(ALPHA, HUMP).value == pytest.approx(0.5, abs=1e-12)
    assert barrier_of(ALPHA, HUMP, kind="mean").value == pytest.approx(0.605, abs=5e-4)


def test_trap_2_a_barrier_carries_what_is_needed_to_quote_it():
    objective = MLP.objective(metrics={"error": lw.metrics.error})
    landscape = lw.sample(objective, lw.Line(MLP.model(0), MLP.model(1)), resolution=33)
    for kind, metric, author in (
        ("excess", "loss", "Entezari"),
        ("mean", "loss", "Ainsworth"),
        ("error", "error", "Frankle"),
    ):
        barrier = landscape.barrier(kind=kind)
        assert (barrier.kind, barrier.metric, barrier.batchnorm, barrier.split, barrier.points) == (
            kind,
            metric,
            "none",
            "data",
            33,
        )
        assert author in barrier.definition
        assert barrier.alpha in landscape.coords[0]
        assert barrier.evaluations is None  # read off the grid
        assert barrier.error >= 0
    assert landscape.barrier("error", "mean").value == landscape.barrier(kind="error").value


def test_the_barrier_is_the_greatest_height_in_a_plain_loop():
    landscape = lw.sample(MLP.objective(), lw.Line(MLP.model(0), MLP.model(1)), resolution=17, tolerance=0)
    t, v = landscape.coords[0], landscape.values["loss"]
    heights = {
        "excess": [v[i] - (1 - t[i]) * v[0] - t[i] * v[-1] for i in range(17)],
        "mean": [x - (v[0] + v[-1]) / 2 for x in v],
    }
    for kind, height in heights.items():
        barrier = landscape.barrier(kind=kind)
        assert barrier.value == pytest.approx(max(height), abs=1e-15)
        assert barrier.alpha == t[int(np.argmax(height))]


def test_the_reference_is_the_chord_or_the_mean_of_the_ends():
    t = np.array([-0.5, 0.0, 0.25, 1.0])
    assert reference("excess", t, 1.0, 3.0).tolist() == [0.0, 1.0, 1.5, 3.0]
    assert reference("mean", t, 1.0, 3.0).tolist() == reference("error", t, 1.0, 3.0).tolist() == [2.0] * 4


def test_points_beyond_the_models_do_not_count():
    t = np.linspace(-0.5, 1.5, 65)
    wide = barrier_of(t, 100 * (t - 0.5) ** 2)
    assert (wide.value, wide.points) == (0.0, 33)


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0.1, 5))
def test_adding_a_straight_line_changes_no_excess_barrier(level, slope, height):
    base = height * np.sin(np.pi * ALPHA)
    assert barrier_of(ALPHA, base + level + slope * ALPHA).value == pytest.approx(height, abs=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=20))
def test_a_mean_barrier_is_at_least_half_the_difference_of_the_ends_and_no_barrier_is_negative(values):
    t = np.linspace(0, 1, len(values))
    assert barrier_of(t, values, kind="mean").value >= abs(values[0] - values[-1]) / 2 - 1e-12
    assert barrier_of(t, values).value >= 0
    assert barrier_of(t, values[::-1]).value == pytest.approx(barrier_of(t, values).value, abs=1e-12)


@pytest.mark.parametrize("points", [5, 9, 17, 33])
@pytest.mark.parametrize("at", [0.5, 0.37, 0.61])
def test_trap_2_the_error_covers_a_maximum_between_grid_points(points, at):
    def path(a):
        return np.exp(-(((a - at) / 0.3) ** 2))

    def excess(a):
        return path(a) - (1 - a) * path(0.0) - a * path(1.0)

    t = np.linspace(0, 1, points)
    barrier = barrier_of(t, path(t))
    true = excess(np.linspace(0, 1, 100_001)).max()
    assert barrier.value <= true + 1e-12
    assert true - barrier.value <= barrier.error + 1e-4 * true


def test_the_error_of_interpolated_values_is_passed_on():
    assert barrier_of(ALPHA, HUMP, value_error=0.125).error >= 0.125
    tight = lw.sample(MLP.objective(), lw.Line(MLP.model(0), MLP.model(1)), resolution=65, tolerance=0)
    loose = lw.sample(MLP.objective(), lw.Line(MLP.model(0), MLP.model(1)), resolution=65, tolerance=0.05)
    assert loose.evaluations < 65
    assert abs(loose.barrier().value - tight.barrier().value) <= loose.barrier().error


@pytest.mark.parametrize(
    ("alphas", "values", "options", "message"),
    [
        (ALPHA, HUMP, {"kind": "max"}, "kind must be one of excess, mean, error, got 'max'. The default is excess"),
        (ALPHA[1:], HUMP[1:], {}, "must have 0 and 1 among its grid points, got 0.015625 to 1"),
        (ALPHA[:-1], HUMP[:-1], {}, "must have 0 and 1 among its grid points"),
        ([0, 0.5, 1], [1, np.nan, 2], {}, "loss must be finite between the models, got nan at alpha = 0.5"),
        ([0, 0.5, 1], [1, 2, np.inf], {}, "got inf at alpha = 1"),
    ],
)
def test_what_has_no_barrier_is_refused(alphas, values, options, message):
    with pytest.raises(ValueError, match=message):
        barrier_of(alphas, values, **options)


def test_planes_unknown_metrics_and_one_sided_lines_have_no_barrier_and_the_advice_works():
    objective, a = MLP.objective(), MLP.model(0)
    with pytest.raises(ValueError, match=r"landscape must be a curve, got 2 axes. Sample a Line"):
        lw.sample(objective, lw.Plane.random(a), resolution=3).barrier()
    line = lw.Line(a, MLP.model(1))
    with pytest.raises(ValueError, match=r"metric must be one of loss, got 'error'") as caught:
        lw.sample(objective, line, resolution=5).barrier(kind="error")
    assert 'metrics={"error": lw.metrics.error}' in str(caught.value)
    assert (
        lw.sample(MLP.objective(metrics={"error": lw.metrics.error}), line, resolution=5).barrier(kind="error").value
        >= 0
    )
    with pytest.raises(ValueError, match=r"over a span that contains \[0, 1\]"):
        lw.sample(objective, line.over((0.25, 1.0)), resolution=5).barrier()
    with pytest.raises(ValueError, match=r"0 and 1|a line between two models"):  # along a seed, 0 and 1 are no models
        lw.sample(objective, lw.Line.random(a, span=(-1.0, 1.0)), resolution=5).barrier()
