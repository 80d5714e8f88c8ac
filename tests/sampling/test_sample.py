"""Sampling against brute force, budgets, interrupts, and the stream."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.sampling.identity import follow_no_more
from tests.models import CASES, MLP, at, named

SAMPLE = sys.modules["lwidgets.sampling.sample"]  # its name in the package is the function's
SIZES = st.integers(2, 40)


def wave(u):
    return torch.sin(3 * u[:, 0]) * torch.cos(5 * u[:, 1]) + 0.1 * u[:, 0]


def bowl(u):
    return {"loss": (u**2).sum(dim=1), "wave": wave(u)}


WAVE, BOWL, SQUARE = lw.Objective.from_function(wave, 2), lw.Objective.from_function(bowl, 2), lw.Subspace.identity(2)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("shape", [(9, 5), (12, 7)])
def test_tolerance_0_is_a_brute_force_loop_at_every_pixel(case, shape):
    model = case.model()
    plane = lw.Plane.random(model, span=((-1.0, 1.0), (-0.5, 0.8)))
    landscape = lw.sample(case.objective(), plane, resolution=shape, tolerance=0)
    first, second = plane.basis.vectors[1:]
    expected = [
        [case.plain_loss(at(model, [(1, named(model)), (x, first), (y, second)])) for y in landscape.coords[1]]
        for x in landscape.coords[0]
    ]
    assert landscape.values["loss"].shape == landscape.shape == shape
    np.testing.assert_allclose(landscape.values["loss"], expected, rtol=2e-5)
    assert landscape.evaluated.all()
    assert (landscape.evaluations, landscape.error["loss"], landscape.final) == (shape[0] * shape[1], 0.0, True)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_line_between_models_is_a_brute_force_loop(case):
    a, b = case.model(0), case.model(1)
    landscape = lw.sample(
        case.objective(batchnorm="frozen"), lw.Line(a, b, span=(-0.25, 1.25)), resolution=13, tolerance=0
    )
    expected = [case.plain_loss(at(a, [(1 - t, named(a)), (t, named(b))])) for t in landscape.coords[0]]
    np.testing.assert_allclose(landscape.values["loss"], expected, rtol=2e-5)


@given(nx=SIZES, ny=SIZES, dim=st.sampled_from([1, 2]))
def test_tolerance_0_covers_every_pixel_of_any_grid_once(nx, ny, dim):
    calls = []

    def f(u):
        calls.extend(map(tuple, u.tolist()))
        return u.sum(dim=1)

    objective, shape = lw.Objective.from_function(f, dim), (nx, ny)[:dim]
    follow_no_more(objective)  # it changes what it reads; to find that out takes calls of its own
    calls.clear()
    landscape = lw.sample(objective, lw.Subspace.identity(dim), resolution=shape, tolerance=0, cache=False)
    assert landscape.evaluated.all()
    assert len(calls) == len(set(calls)) == landscape.evaluations == np.prod(shape)


@given(
    budget=st.integers(9, 400),
    shape=st.sampled_from([(9, 5), (17, 9), (12, 7), (33, 21)]),
    tolerance=st.sampled_from([0, 1e-4, 1e-2]),
)
def test_a_budget_is_kept_exactly(budget, shape, tolerance):
    calls = []

    def f(u):
        calls.append(len(u))
        return wave(u)

    objective = lw.Objective.from_function(f, 2)
    follow_no_more(objective)
    calls.clear()
    landscape = lw.sample(objective, SQUARE, resolution=shape, tolerance=tolerance, budget=budget, cache=False)
    pixels = np.prod(shape)
    assert sum(calls) == landscape.evaluations == landscape.evaluated.sum() <= min(budget, pixels)
    settled = landscape.provenance["sampling"]["settled"]
    assert landscape.evaluations == min(budget, pixels) or settled
    assert (
        settled
        or not landscape.error["loss"] <= tolerance * np.ptp(landscape.values["loss"])
        or landscape.evaluations == budget
    )


def test_a_landscape_smaller_than_the_coarsest_grid_takes_its_own_size_as_budget():
    assert lw.sample(WAVE, SQUARE, resolution=2, budget=4, tolerance=0).evaluations == 4


def test_the_streams_last_item_is_the_sample():
    *coarse, last = lw.stream(WAVE, SQUARE, resolution=(33, 17), tolerance=1e-3)
    whole = lw.sample(WAVE, SQUARE, resolution=(33, 17), tolerance=1e-3)
    assert last.final
    assert not any(item.final for item in coarse)
    assert last.values["loss"].tolist() == whole.values["loss"].tolist()
    assert last.evaluated.tolist() == whole.evaluated.tolist()
    assert last.error == whole.error
    for earlier, later in itertools.pairwise([*coarse, last]):
        assert not (earlier.evaluated & ~later.evaluated).any()
        assert earlier.evaluations <= later.evaluations
        known = earlier.evaluated
        assert (earlier.values["loss"][known] == later.values["loss"][known]).all()


def test_streamed_landscapes_are_values_of_their_own():
    stream = lw.stream(WAVE, SQUARE, resolution=9, tolerance=0)
    kept = [(item, item.values["loss"].copy(), item.evaluated.copy()) for item in stream]
    for item, values, evaluated in kept:
        np.testing.assert_array_equal(item.values["loss"], values)
        np.testing.assert_array_equal(item.evaluated, evaluated)
    kept[0][0].values["loss"][:] = -1
    assert not (kept[1][0].values["loss"] == -1).any()


@pytest.mark.parametrize("stop_at", [1, 8, 9, 30, 60, 131])
def test_raising_in_progress_stops_within_one_evaluation(stop_at):
    calls, model = [], MLP.model()

    def loss(model, batch):
        calls.append(1)
        return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])

    class Stop(Exception):
        pass

    def progress(done, total):
        assert (len(calls), total) == (done, 17 * 9)
        if done == stop_at:
            raise Stop

    objective = lw.Objective(model, MLP.samples(), loss=loss)
    calls.clear()
    with pytest.raises(Stop):
        lw.sample(objective, lw.Plane.random(model), resolution=(17, 9), tolerance=0, progress=progress)
    assert len(calls) == stop_at


@pytest.mark.parametrize("stop_at", [1, 9, 25, 100])
def test_interrupted_carries_the_picture_so_far(stop_at):
    def progress(done, total):
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(lw.Interrupted, match=r"interrupted after .* evaluations?") as caught:
        lw.sample(WAVE, SQUARE, resolution=(17, 9), tolerance=0, progress=progress)
    assert isinstance(caught.value, KeyboardInterrupt)
    landscape = caught.value.landscape
    if stop_at <= 9:
        assert landscape is None or landscape.evaluations <= 9
    else:
        whole = lw.sample(WAVE, SQUARE, resolution=(17, 9), tolerance=0)
        assert not landscape.final
        assert (landscape.values["loss"][landscape.evaluated] == whole.values["loss"][landscape.evaluated]).all()
        assert np.isfinite(landscape.values["loss"]).all()


def test_interrupted_loses_nothing_that_was_measured():
    """The message promises what had been measured; points of the unfinished level are the costly ones."""

    def progress(done, total):
        if done == 100:
            raise KeyboardInterrupt

    with pytest.raises(lw.Interrupted) as caught:
        lw.sample(WAVE, SQUARE, resolution=(17, 9), tolerance=0, progress=progress)
    assert caught.value.landscape.evaluations >= 99


def test_the_metric_that_decides_is_told_and_others_carry_their_own_error():
    by_loss = lw.sample(BOWL, SQUARE, resolution=(33, 33))
    by_both = lw.sample(BOWL, SQUARE, resolution=(33, 33), metric=("loss", "wave"))
    assert by_loss.provenance["sampling"]["deciding"] == ["loss"]
    assert by_loss.evaluations < by_both.evaluations
    assert by_loss.error["wave"] > by_both.error["wave"]
    assert by_both.error["wave"] <= 1e-2 * np.ptp(by_both.values["wave"])


@pytest.mark.parametrize(
    ("subspace", "options", "message"),
    [
        (lw.Subspace.identity(3), {}, "subspace must have one or two axes, got 3. Fix the other coordinates first"),
        (SQUARE, {"resolution": (9, 9, 9)}, "resolution must be an integer of at least 2 for each of 2 axes"),
        (SQUARE, {"resolution": 1}, r"got 1. Use for example resolution=\(65, 65\)"),
        (SQUARE, {"resolution": 9.5}, "resolution must be an integer of at least 2 for each of 2 axes, got 9.5"),
        (
            SQUARE,
            {"tolerance": -0.1},
            "tolerance must be a share of the range, 0 or more, got -0.1. Use for example 1e-2",
        ),
        (SQUARE, {"tolerance": np.nan}, "tolerance must be a share of the range"),
        (SQUARE, {"budget": 8}, "budget must be at least 9 evaluations, the coarsest grid, got 8. Raise it"),
        (SQUARE, {"metric": "error"}, "metric must be among loss, wave, got 'error'. Use one of these"),
        (SQUARE, {"metric": ()}, "metric must be among loss, wave"),
    ],
)
def test_arguments_that_break_their_rule_are_refused(subspace, options, message):
    objective = lw.Objective.from_function(bowl, len(subspace.axes))
    with pytest.raises(ValueError, match=f"sample: .*{message}"):
        lw.sample(objective, subspace, **options)


def test_a_subspace_of_another_model_is_refused_before_anything_is_computed():
    steps = []
    with pytest.raises(ValueError, match=r"must fit the objective's model"):
        lw.sample(MLP.objective(), lw.Plane.random(CASES[1].model()), progress=lambda *a: steps.append(a))
    assert not steps


def test_provenance_says_what_was_done():
    told = lw.sample(
        MLP.objective(), lw.Plane.random(MLP.model(), (0, 7)), resolution=(9, 5), tolerance=0.05, budget=30
    ).provenance
    assert told["sampling"]["resolution"] == [9, 5]
    assert (told["sampling"]["tolerance"], told["sampling"]["budget"], told["sampling"]["log"]) == (0.05, 30, False)
    assert told["subspace"]["directions"] == ["seed 0, filter normalised", "seed 7, filter normalised"]
    assert [axis["span"] for axis in told["subspace"]["axes"]] == [[-1.0, 1.0], [-1.0, 1.0]]
    assert (told["lwidgets"], told["batchnorm"]) == (lw.__version__, "none")


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_what_was_measured_once_is_not_measured_again(case, folder, tmp_path):
    cache = tmp_path / "measured" if folder else None
    objective, plane = case.objective(), lw.Plane.random(case.model(), (0, 1))
    first = lw.sample(objective, plane, resolution=(17, 9), cache=cache)
    again = lw.sample(objective, plane, resolution=(17, 9), cache=cache)
    assert again.provenance["sampling"]["remembered"] == again.evaluations == first.evaluations
    assert not again.provenance["sampling"]["strategies"]
    np.testing.assert_array_equal(first.values["loss"], again.values["loss"])
    whole = lw.sample(objective, plane, resolution=(17, 9), tolerance=0, cache=cache)
    assert whole.provenance["sampling"]["remembered"] == first.evaluations
    assert sum(whole.provenance["sampling"]["strategies"].values()) == 17 * 9 - first.evaluations


def test_an_executor_gives_the_same_picture():
    objective = MLP.objective()
    plane = lw.Plane.random(MLP.model(), (0, 1))
    here = lw.sample(objective, plane, resolution=17, cache=False)
    with ThreadPoolExecutor(2) as pool:
        there = lw.sample(objective, plane, resolution=17, cache=False, executor=pool)
    np.testing.assert_allclose(here.values["loss"], there.values["loss"], rtol=1e-5)
    assert there.provenance["sampling"]["executor"] == "ThreadPoolExecutor"


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    objective, plane = MLP.objective(), lw.Plane.random(MLP.model(), (0, 1))

    def progress(done, total):
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(lw.Interrupted) as caught:
        lw.sample(objective, plane, resolution=17, tolerance=0, cache=tmp_path, progress=progress)
    assert caught.value.landscape.evaluations == 50
    whole = lw.sample(MLP.objective(), plane, resolution=17, tolerance=0, cache=tmp_path)
    assert whole.provenance["sampling"]["remembered"] == 50
    assert whole.evaluated.all()


def test_an_exception_at_one_point_keeps_what_was_measured_and_says_where():
    def loss(output, target):
        if loss.left == 0:
            raise ArithmeticError("the user's own words")
        loss.left -= 1
        return F.cross_entropy(output, target)

    loss.left = 100
    objective = lw.Objective(MLP.model(), MLP.samples(), loss=loss)
    loss.left = 30
    with pytest.raises(ArithmeticError, match="the user's own words") as caught:
        lw.sample(objective, lw.Plane.random(MLP.model(), (0, 1)), resolution=17, tolerance=0, cache=False)
    assert caught.value.landscape.evaluations == 30
    assert np.isfinite(caught.value.landscape.values["loss"][caught.value.landscape.evaluated]).all()
    note = caught.value.__notes__[0]
    assert "after 30 evaluations" in note
    assert "x = " in note


def test_running_out_of_memory_says_the_way_out(monkeypatch):
    objective = MLP.objective()
    evaluate = objective.evaluate

    def short(basis, coefficients, **options):
        for i, row in enumerate(evaluate(basis, coefficients, **options)):
            if i == 12:
                raise torch.OutOfMemoryError("tried to allocate")
            yield row

    monkeypatch.setattr(objective, "evaluate", short)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        lw.sample(objective, lw.Plane.random(MLP.model(), (0, 1)), resolution=17, cache=False)
    assert "smaller batches" in caught.value.__notes__[0]
    assert caught.value.landscape.evaluations >= 9


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_directions_in_half_precision_are_in_the_error_that_is_shown(case):
    objective, plane = case.objective(), lw.Plane.random(case.model(), (0, 1))
    exact = lw.sample(objective, plane, resolution=(9, 7), tolerance=0)
    half = lw.sample(objective, plane.stored(dtype=torch.bfloat16), resolution=(9, 7), tolerance=0)
    told = half.provenance["sampling"]["storage error"]["loss"]
    assert half.error["loss"] == told > 0
    assert 0 < np.abs(half.values["loss"] - exact.values["loss"]).max() <= told
    assert exact.error["loss"] == 0
    assert "storage error" not in exact.provenance["sampling"]


class _InterruptAt:
    """Raises KeyboardInterrupt at the so manieth line that Python runs, wherever that is."""

    def __init__(self, moment=None):
        self.moment, self.lines = moment, 0

    def __enter__(self):
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def __call__(self, frame, event, _):
        if event == "line":
            self.lines += 1
            if self.lines == self.moment:
                raise KeyboardInterrupt
        return self


def _lines_until(name, run):
    """How many lines Python runs in all, and until a function of that name is called."""
    until = None

    class Counter(_InterruptAt):
        def __call__(self, frame, event, _):
            nonlocal until
            if until is None and frame.f_code.co_name == name:
                until = self.lines
            return super().__call__(frame, event, _)

    with Counter() as counter:
        run()
    return until, counter.lines


def _network():
    return partial(lw.sample, MLP.objective(), lw.Plane.random(MLP.model()), resolution=5, cache=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: partial(lw.sample, WAVE, SQUARE, resolution=(17, 9), cache=False),
        lambda: partial(lw.sample, WAVE, SQUARE, resolution=(17, 9), tolerance=0.3, cache=False),
        lambda: partial(lw.sample, WAVE, SQUARE, resolution=17, budget=100, cache=False),
        _network,
    ],
    ids=["to the end", "coarse", "budget", "network"],
)
def test_an_interrupt_at_any_line_keeps_what_was_measured(make, monkeypatch):
    monkeypatch.setattr("lwidgets.sampling.identity._PAUSE", float("inf"))  # the same lines in every run
    run = make()
    whole = run()
    first, last = _lines_until("begin", run)
    moments = np.linspace(first + 1, last - 8, 12).astype(int)
    for moment in moments:
        done = 0

        def progress(count, total):
            nonlocal done
            done = count

        with pytest.raises(lw.Interrupted) as caught, _InterruptAt(moment):
            run(progress=progress)
        landscape = caught.value.landscape
        known = landscape.evaluated
        assert landscape.evaluations == known.sum()
        assert done <= landscape.evaluations <= done + 1
        assert (landscape.values["loss"][known] == whole.values["loss"][known]).all()
        assert not landscape.final


@pytest.mark.parametrize("again", [1, 2, 5])
def test_more_interrupts_while_the_picture_is_made_lose_nothing(monkeypatch, again):
    make, left = SAMPLE._Run._picture_so_far, [None] * again

    def interrupted(self):
        picture = make(self)
        if left:
            left.pop()
            raise KeyboardInterrupt
        return picture

    def progress(done, total):
        if done == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(SAMPLE._Run, "_picture_so_far", interrupted)
    with pytest.raises(lw.Interrupted) as caught:
        lw.sample(WAVE, SQUARE, resolution=17, progress=progress, cache=False)
    assert caught.value.landscape.evaluations == 20


def test_an_interrupted_picture_is_what_the_budget_would_have_given():
    """Error and interpolated values too: nothing of the state of the run is lost."""
    for stop_at in (3, 12, 25, 30, 60):

        def progress(done, total, stop_at=stop_at):
            if done == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(lw.Interrupted) as caught:
            lw.sample(WAVE, SQUARE, resolution=17, progress=progress, cache=False)
        landscape = caught.value.landscape
        if stop_at >= 9:
            known = lw.sample(WAVE, SQUARE, resolution=17, budget=stop_at, cache=False)
            assert (landscape.evaluated == known.evaluated).all()
            np.testing.assert_equal(landscape.values["loss"], known.values["loss"])
            np.testing.assert_equal(landscape.error["loss"], known.error["loss"])


def test_an_interrupt_before_the_first_value_says_so(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(SAMPLE, "Measure", interrupted)
    with pytest.raises(lw.Interrupted, match="before anything was measured") as caught:
        lw.sample(WAVE, SQUARE, resolution=(5, 3))
    landscape = caught.value.landscape
    assert landscape.evaluations == 0
    assert landscape.shape == (5, 3)
    assert "loss not known; 0 evaluated" in repr(landscape)
    assert "finite" not in repr(landscape)


@dataclass(frozen=True)
class Frozen(Exception):
    reason: str = "frozen"


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no str")


class OwnEnd(BaseException):
    pass


@pytest.mark.parametrize("kind", [ValueError, Frozen, Mute, OwnEnd, SystemExit, MemoryError, GeneratorExit])
def test_every_exception_keeps_its_type_and_carries_the_picture(kind):
    def loss(u):
        if len(calls) > 1:  # the constructor tries it
            raise kind()
        calls.append(1)
        return u[:, 0]

    calls = []
    objective = lw.Objective.from_function(loss, dim=2)
    calls.append(1)
    with pytest.raises(kind) as caught:
        lw.sample(objective, SQUARE, resolution=5)
    assert caught.value.landscape.evaluations == 0
    assert any("the picture so far" in note.lower() for note in caught.value.__notes__)


def test_whoever_stops_listening_gets_no_picture_made(monkeypatch):
    monkeypatch.setattr(SAMPLE._Run, "landscape_so_far", lambda self: pytest.fail("made a picture"))
    pictures = lw.stream(WAVE, SQUARE, resolution=17)
    next(pictures)
    pictures.close()


def test_gradients_are_as_they_were_after_an_interrupt_inside_no_grad(monkeypatch):
    def interrupted(self, **_):
        torch.set_grad_enabled(False)  # as where torch.no_grad() was just about to end
        raise KeyboardInterrupt

    monkeypatch.setattr(SAMPLE._Run, "pictures", interrupted)
    with pytest.raises(lw.Interrupted):
        lw.sample(WAVE, SQUARE, resolution=5)
    assert torch.is_grad_enabled()
