"""Polished barriers against brute force: closed forms on fine grids, networks in plain torch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import update_bn

import lwidgets as lw
from lwidgets.sampling.polish import LIMIT, _lines_over, polish_barrier
from tests.models import CASES, CNN, MLP, at, named

LINE = lw.Subspace.identity(1, span=(0, 1))


def gauss(a, centre, width):
    return np.exp(-(((a - centre) / width) ** 2))


PATHS = {  # name: (path, most evaluations)
    "sine over a sloped chord": (lambda a: 2 - a + 0.5 * np.sin(np.pi * a), 2),
    "asymmetric": (lambda a: 1 + 6 * a * np.exp(-4.3 * a), 4),
    "waves": (lambda a: np.sin(13 * a) + np.cos(29 * a) + 3 * a, 6),
    "two tops, the left higher": (lambda a: 1.0002 * gauss(a, 0.3071, 0.1) + gauss(a, 0.7113, 0.08), 8),
    "two tops, the right higher": (lambda a: gauss(a, 0.3071, 0.1) + 1.0002 * gauss(a, 0.7113, 0.08), 8),
    "a kink": (lambda a: 1 - np.abs(a - 0.371234), 2),
    "a skew kink": (lambda a: 3 - np.maximum(0.7 * (a - 0.61717), -4 * (a - 0.61717)), 2),
    "a curved kink": (lambda a: 3 - np.abs(a - 0.5553) - 5 * (a - 0.4) ** 2, 5),
    "kinks next to the top": (lambda a: 2 * np.sin(np.pi * a) - 0.3 * np.maximum(a - 0.49, 0), 6),
    "a spike between grid points": (lambda a: np.sin(np.pi * a) + 0.2 * gauss(a, 0.307, 0.008), 14),
    "steep on the left": (lambda a: gauss(a, 0.302, np.where(a < 0.302, 0.008, 0.3)), 14),
    "steep on the right": (lambda a: gauss(a, 0.698, np.where(a < 0.698, 0.3, 0.008)), 14),
    "nearly flat": (lambda a: a * (1 - a) * (1 + 3 * a**4), 4),
}


def objective_of(path):
    return lw.Objective.from_function(lambda u: torch.as_tensor(path(u[:, 0].numpy())), dim=1)


def height_of(path, kind):
    start, end = path(np.array([0.0, 1.0]))
    return lambda a: path(a) - ((1 - a) * start + a * end if kind == "excess" else (start + end) / 2)


def brute_force(height):
    """20,001 points over the path, and as many around the best of them."""
    a = np.linspace(0, 1, 20_001)
    best = a[height(a).argmax()]
    return float(height(np.linspace(max(0, best - 1e-4), min(1, best + 1e-4), 20_001)).max())


@pytest.mark.parametrize("resolution", [{"resolution": 65, "tolerance": 1e-3}, {"resolution": 33, "tolerance": 0}])
@pytest.mark.parametrize("kind", ["excess", "mean"])
@pytest.mark.parametrize("name", PATHS)
def test_trap_2_a_polished_barrier_is_the_brute_force_one_to_1e_4(name, kind, resolution):
    path, most = PATHS[name]
    objective, height = objective_of(path), height_of(path, kind)
    barrier = polish_barrier(objective, LINE, lw.sample(objective, LINE, **resolution), kind=kind)
    true = brute_force(height)
    assert true * (1 - 1e-4) <= barrier.value <= true + 1e-12
    assert true - barrier.value <= barrier.error <= 1e-4 * true
    assert barrier.value == pytest.approx(height(barrier.alpha), abs=1e-14)  # measured there, and pins alpha
    assert barrier.evaluations <= most + 2 * (resolution["resolution"] == 33)
    assert (barrier.kind, barrier.metric, barrier.points) == (kind, "loss", resolution["resolution"])


def smooth(rng):
    amplitude, phase = rng.normal(size=6) / np.arange(1, 7), rng.uniform(0, 6.28, 6)
    return lambda a: np.sin(5.3 * np.outer(a, np.arange(1, 7)) + phase) @ amplitude


def folded(rng):
    corner, slope = rng.uniform(0, 1, 40), 0.3 * rng.normal(size=40)
    return lambda a: 2 * np.sin(np.pi * a) + np.maximum(a[:, None] - corner, 0) @ slope


def pointed(rng):
    corner, (up, down), bend = rng.uniform(0.1, 0.9), rng.uniform(0.3, 5, 2), rng.uniform(0, 6)
    return lambda a: -np.maximum(up * (corner - a), down * (a - corner)) - bend * (a - corner) ** 2


@pytest.mark.parametrize("tolerance", [1e-3, 1e-2])
@pytest.mark.parametrize("family", [smooth, folded, pointed])
def test_over_random_paths_the_error_covers_and_evaluations_are_few(family, tolerance):
    used, covered = [], []
    for seed in range(40):
        path = family(np.random.default_rng(seed))
        objective = objective_of(path)
        barrier = polish_barrier(objective, LINE, lw.sample(objective, LINE, resolution=65, tolerance=tolerance))
        true = brute_force(height_of(path, "excess"))
        assert barrier.error <= 1e-4 * barrier.value + 1e-5
        assert true - barrier.value <= 2e-4 * true + 1e-9
        covered.append(true - barrier.value <= barrier.error)
        used.append(barrier.evaluations)
    assert sum(covered) >= 39
    assert np.mean(used) <= 6


def test_a_top_that_cannot_win_is_not_evaluated(monkeypatch):
    path = lambda a: gauss(a, 0.3071, 0.1) + 0.95 * gauss(a, 0.7113, 0.08)  # noqa: E731
    objective, asked = objective_of(path), []
    curve = lw.sample(objective, LINE, tolerance=1e-3)
    evaluate = objective.evaluate

    def spy(basis, coefficients, **options):
        rows = list(coefficients)
        asked.extend(row[1] for row in rows)
        return evaluate(basis, rows, **options)

    monkeypatch.setattr(objective, "evaluate", spy)
    barrier = polish_barrier(objective, LINE, curve)
    assert len(asked) == barrier.evaluations > 0
    assert all(0.25 < alpha < 0.36 for alpha in asked)


@pytest.mark.parametrize(("stated", "found"), [(0.06, True), (0.0, False)])
def test_what_the_curves_error_allows_to_hide_is_looked_for(stated, found):
    path = lambda a: np.sin(np.pi * a) + 0.06 * gauss(a, 0.5601, 0.015)  # noqa: E731
    objective = objective_of(path)
    curve = replace(lw.sample(objective, LINE, resolution=9, tolerance=0), error={"loss": stated})
    assert curve.values["loss"].max() == pytest.approx(1, abs=1e-6)  # between the points nothing shows
    barrier = polish_barrier(objective, LINE, curve)
    assert (barrier.value == pytest.approx(brute_force(height_of(path, "excess")), rel=1e-4)) is found


@pytest.mark.parametrize("dent", range(8))
def test_chords_bound_a_gap_only_where_the_four_points_around_it_are_concave(dent):
    t = np.arange(8.0)
    height = -((t - 3.5) ** 2) - 20 * (t == dent)
    into, out = (float(slope[0, 0]) for slope in _lines_over(t, height, np.array([3]), 0.0))
    if dent in (2, 3, 4, 5):
        assert (into, out) == (np.inf, -np.inf)
    else:
        assert (into, out) == (height[3] - height[2], height[5] - height[4])


def test_what_limits_the_search_is_in_the_error():
    path = lambda a: np.round(40 * np.sin(np.pi * a) * (1 + 0.3 * a) + 0.1 * np.sin(300 * a)) / 40  # noqa: E731
    objective = objective_of(path)
    curve = lw.sample(objective, LINE, tolerance=0)
    barrier, true = polish_barrier(objective, LINE, curve), brute_force(height_of(path, "excess"))
    assert barrier.value == pytest.approx(true) == path(barrier.alpha)
    assert 0 < barrier.evaluations <= LIMIT
    assert barrier.error <= 3 / 40  # steps
    assert barrier.alpha <= np.flatnonzero(path(curve.coords[0]) == true)[0] / 64  # the first that has it


def test_an_error_rate_is_an_exact_evaluation_between_the_networks():
    objective = MLP.objective(metrics={"error": lw.metrics.error})
    line = lw.Line(MLP.model(0), MLP.model(1))
    curve = lw.sample(objective, line)
    barrier = polish_barrier(objective, line, curve, kind="error")
    ends = [objective.measure(MLP.model(seed))["error"] for seed in (0, 1)]
    there = next(objective.evaluate(line.basis, line.coefficients([barrier.alpha])))["error"]
    assert barrier.value == there - sum(ends) / 2
    assert (barrier.metric, barrier.kind) == ("error", "error")
    assert polish_barrier(objective, line, curve, kind="error", cache=False) == barrier


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("kind", ["excess", "mean"])
def test_between_networks_it_is_that_of_plain_torch(case, kind):
    a, b = (case.model(seed, torch.float64) for seed in (0, 1))
    data = case.samples(torch.float64)

    def loss(alpha):
        model = at(a, [(1 - alpha, named(a)), (alpha, named(b))])
        if case is CNN:
            update_bn([data[0]], model)
            model.eval()
        return case.plain_loss(model, data)

    def height(alpha):
        return loss(alpha) - ((1 - alpha) * ends[0] + alpha * ends[1] if kind == "excess" else sum(ends) / 2)

    objective, line = case.objective(), lw.Line(case.model(0), case.model(1))
    barrier = polish_barrier(objective, line, lw.sample(objective, line, tolerance=1e-3), kind=kind)
    ends = loss(0.0), loss(1.0)
    near = np.linspace(barrier.alpha - 0.02, barrier.alpha + 0.02, 401)
    true = max(height(alpha) for alpha in [*near, *np.linspace(0, 1, 65)])
    assert barrier.value == pytest.approx(true, rel=1e-4)
    assert height(barrier.alpha) == pytest.approx(barrier.value, abs=3e-6)
    assert true - barrier.value <= barrier.error <= 1.5e-4 * true
    assert barrier.evaluations <= 12
    assert barrier.batchnorm == ("recalibrate" if case is CNN else "none")


@pytest.mark.parametrize(
    ("kind", "path", "value", "alpha"),
    [
        ("excess", lambda a: a * (a - 1) + 3 * a, 0.0, 0.0),
        ("excess", lambda a: 1 - a, 0.0, 0.0),
        ("excess", lambda a: 0 * a + 2, 0.0, 0.0),
        ("mean", lambda a: 1 - a, 0.5, 0.0),
        ("mean", lambda a: np.exp(a), (np.e - 1) / 2, 1.0),
    ],
)
def test_nothing_above_the_ends_is_known_at_once(kind, path, value, alpha):
    objective = objective_of(path)
    barrier = polish_barrier(objective, LINE, lw.sample(objective, LINE, tolerance=1e-3), kind=kind)
    assert (barrier.value, barrier.alpha, barrier.evaluations) == (pytest.approx(value, abs=1e-15), alpha, 0)
    assert barrier.error <= 5e-6


def test_rounding_is_not_chased_and_is_in_the_error():
    exact = lambda a: 50 + 0.05 * np.sin(np.pi * a) + 0.3 * a  # noqa: E731
    objective = objective_of(lambda a: exact(a).astype(np.float32).astype(np.float64))
    barrier = polish_barrier(objective, LINE, lw.sample(objective, LINE, resolution=64, tolerance=1e-3))
    assert 1e-6 < abs(barrier.value - 0.05) <= barrier.error <= 5e-5
    assert barrier.evaluations <= 3


@pytest.mark.parametrize("resolution", [2, 3, 4, 6])
def test_few_points_are_filled_up_first(resolution):
    objective = objective_of(PATHS["asymmetric"][0])
    barrier = polish_barrier(objective, LINE, lw.sample(objective, LINE, resolution=resolution))
    assert barrier.value == pytest.approx(brute_force(height_of(PATHS["asymmetric"][0], "excess")), rel=1e-4)
    assert barrier.evaluations <= 12


def test_ends_that_were_not_evaluated_are():
    path = PATHS["a kink"][0]
    objective = objective_of(path)
    curve = lw.sample(objective, LINE, tolerance=0)
    inner = curve.evaluated & (curve.coords[0] > 0) & (curve.coords[0] < 1)
    values = {"loss": np.where(inner, curve.values["loss"], 0.1)}
    barrier = polish_barrier(objective, LINE, replace(curve, evaluated=inner, values=values, error={"loss": np.nan}))
    assert barrier.value == pytest.approx(brute_force(height_of(path, "excess")), rel=1e-4)


@pytest.mark.parametrize("span", [(-0.5, 1.5), (-3, 3), (-0.5, 1)])
def test_beyond_the_models_nothing_counts_but_helps(span):
    path = lambda a: 0.5 * np.sin(np.pi * a) + 3 * a + 30 * np.maximum(0, np.abs(a - 0.5) - 0.5)  # noqa: E731
    objective = objective_of(lambda a: np.where(a > 1.3, np.inf, path(a)))
    line = lw.Subspace.identity(1, span=span)
    barrier = polish_barrier(objective, line, lw.sample(objective, line, resolution=49))
    assert barrier.value == pytest.approx(0.5, rel=1e-4)
    assert barrier.alpha == pytest.approx(0.5, abs=0.01)


def test_a_looser_tolerance_takes_fewer_evaluations_and_zero_all_that_help():
    objective = objective_of(PATHS["two tops, the left higher"][0])
    curve = lw.sample(objective, LINE, resolution=17, tolerance=0)
    loose, usual, tight = (polish_barrier(objective, LINE, curve, tolerance=t) for t in (1e-2, 1e-4, 0.0))
    assert loose.evaluations < usual.evaluations < tight.evaluations <= LIMIT
    assert 1e-4 * loose.value < loose.error <= 1e-2 * loose.value
    assert tight.error < 1e-5


def test_progress_follows_and_can_end_it():
    objective = objective_of(PATHS["asymmetric"][0])
    curve = lw.sample(objective, LINE, resolution=9, tolerance=0)
    told = []
    barrier = polish_barrier(objective, LINE, curve, progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, LIMIT) for i in range(barrier.evaluations)]

    def enough(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        polish_barrier(objective, LINE, curve, progress=enough)


def test_an_infinity_between_grid_points_is_named():
    path = lambda a: np.where(np.abs(a - 0.503) < 0.0049, np.inf, np.sin(np.pi * a))  # noqa: E731
    objective = objective_of(path)
    curve = lw.sample(objective, LINE, resolution=10, tolerance=0)
    with pytest.raises(ValueError, match=r"loss must be finite between the models, got inf at alpha = 0\.5\. A path"):
        polish_barrier(objective, LINE, curve)
    with pytest.raises(ValueError, match=r"must be finite between the models, got inf at alpha = 0\.499"):
        polish_barrier(objective, LINE, lw.sample(objective, LINE, resolution=1001, tolerance=0))


def test_what_does_not_fit_is_refused_and_the_advice_works():
    X, y = MLP.samples()
    objective = lw.Objective(MLP.model(), (X[:30], y[:30]), loss=MLP.loss, test=(X[30:], y[30:]))
    line = lw.Line(MLP.model(0), MLP.model(1))
    curve = lw.sample(objective.test, line, resolution=17)
    with pytest.raises(ValueError, match=r"split 'train' with BatchNorm 'none', got 'test' .*Pass the objective that"):
        polish_barrier(objective, line, curve)
    assert polish_barrier(objective.test, line, curve).split == "test"
    recalibrated, frozen = CNN.objective(), CNN.objective(batchnorm="frozen")
    line = lw.Line(CNN.model(0), CNN.model(1))
    with pytest.raises(ValueError, match="with BatchNorm 'frozen', got 'data' with 'recalibrate'"):
        polish_barrier(frozen, line, lw.sample(recalibrated, line, resolution=5))
    with pytest.raises(ValueError, match=r"tolerance must be a share of the barrier, 0 or more, got -1. Use for"):
        polish_barrier(recalibrated, line, lw.sample(recalibrated, line, resolution=5), tolerance=-1)
    with pytest.raises(ValueError, match="metric must be one of loss, got 'error'"):
        polish_barrier(recalibrated, line, lw.sample(recalibrated, line, resolution=5), kind="error")
