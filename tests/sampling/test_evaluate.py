"""Choosing how to compute, and what must hold however it is done."""

import gc
import threading
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.sampling import evaluate as module_under_test
from lwidgets.sampling.evaluate import STRATEGIES, Local, Plan
from lwidgets.sampling.traced import Traced
from tests.models import CASES, CNN, MLP, at

COORDINATES = np.random.default_rng(0).uniform(-0.9, 0.9, (40, 2))


@pytest.fixture
def impatient(monkeypatch):
    """The traced strategies are tried at once, however little there is to be gained."""
    monkeypatch.setattr(module_under_test, "_WORTH", 0.0)
    monkeypatch.setattr(module_under_test, "_TINY", 1e9)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def bound(objective, subspace):
    return subspace.bound(objective.space)


def local(objective, subspace, **options):
    basis = bound(objective, subspace).basis
    return Local(objective, basis, objective.resolve(subspace.between_models), **options)


def rows(evaluate, subspace, coordinates=COORDINATES):
    return np.array(list(evaluate(subspace.coefficients(coordinates))))


# --- the plan ----------------------------------------------------------------------------------------------------


class Machine:
    """Evaluates points on a clock of its own: what the plan asks for takes as long as the script says."""

    def __init__(self, seconds, strategies=STRATEGIES, counts=(4, 2, 1)):
        self.plan, self.seconds, self.strategies, self.counts = Plan(), seconds, strategies, counts
        self.clock, self.asked = 0.0, []

    def run(self, points):
        for _ in range(points):
            key = self.plan.next([s for s in self.strategies if s not in self.plan.failed], self.counts)
            took = self.seconds(*key, self.clock)
            self.clock += took
            self.plan.took(*key, took, 1)
            self.asked.append(key)
        return self.asked[-points:]


def test_the_loop_is_tried_with_every_number_of_threads_and_the_fastest_is_kept():
    times = {4: 3.0, 2: 2.0, 1: 2.5}
    machine = Machine(lambda strategy, threads, now: times[threads], strategies=["loop"])
    machine.run(6)
    assert {threads for _, threads in machine.asked} == {4, 2, 1}
    assert set(machine.run(30)) == {("loop", 2)}


@pytest.mark.parametrize("fastest", STRATEGIES)
@pytest.mark.parametrize("threads", [4, 2, 1])
def test_the_fastest_strategy_and_number_of_threads_are_found(fastest, threads):
    def seconds(strategy, count, now):
        return 1.0 * (0.5 if strategy == fastest else 1) * (0.8 if count == threads else 1)

    machine = Machine(seconds)
    machine.run(20)
    assert set(machine.run(50)) == {(fastest, threads)}
    assert machine.asked.count((fastest, threads)) > 50
    assert all(machine.asked.count(key) <= 4 for key in set(machine.asked) - {(fastest, threads)})


@pytest.mark.parametrize(("stall", "kept"), [(10.0, "folded"), (40.0, "folded"), (1000.0, "loop")])
def test_one_slow_point_turns_the_plan_only_if_another_would_cost_much(stall, kept):
    calls = []

    def seconds(strategy, threads, now):
        calls.append(1)
        return 1e-3 * (stall if len(calls) == 60 else 0.5 if strategy == "folded" else 1.0)

    machine = Machine(seconds, counts=(1,))
    machine.run(60)
    assert machine.asked[-1][0] == "folded"
    assert {strategy for strategy, _ in machine.run(10)} == {kept}


def test_what_became_slow_is_left_and_returned_to_at_a_bounded_cost_when_it_is_fast_again():
    """Traced takes 0.2, but 5 while another program runs; the loop always takes 1."""

    def seconds(strategy, threads, now):
        busy = 100 < now < 400
        return {"traced": 5.0 if busy else 0.2}.get(strategy, 1.0)

    machine = Machine(seconds, strategies=["loop", "traced"], counts=(1,))
    while machine.clock < 100:
        machine.run(1)
    assert machine.asked[-1][0] == "traced"
    before = len(machine.asked)
    while machine.clock < 400:
        machine.run(1)
    busy = [strategy for strategy, _ in machine.asked[before:]]
    trials = busy.count("traced")
    assert busy.count("loop") > 200  # it left what was slow
    assert trials >= 2
    assert (trials - 2) * 5.0 <= 300 / 20 + 5.0  # a twentieth of the time
    while machine.clock < 600:
        machine.run(1)
    assert {strategy for strategy, _ in machine.run(50)} == {"traced"}


def test_what_failed_is_never_asked_for_again():
    machine = Machine(lambda strategy, threads, now: {"folded": 0.1, "batched": 0.2}.get(strategy, 1.0))
    machine.run(30)
    assert machine.asked[-1][0] == "folded"
    machine.plan.failed["folded"] = "it broke"
    assert {strategy for strategy, _ in machine.run(30)} == {"batched"}
    machine.plan.failed.update(traced="", batched="")
    assert {strategy for strategy, _ in machine.run(30)} == {"loop"}


def test_times_are_for_a_point():
    plan = Plan()
    plan.took("batched", 1, 8.0, 16)
    plan.took("loop", 1, 1.0, 1)
    assert plan.arms["batched", 1].now == 0.5
    assert plan.worked == 9.0


# --- what is computed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_whatever_is_chosen_the_values_are_those_of_the_users_module(case, impatient):
    models = [case.model(seed, torch.float64) for seed in range(3)]
    objective = case.objective(torch.float64, batchnorm="frozen")
    for subspace in (lw.Plane.random(models[0]), lw.Plane.through(*models)):
        evaluate = local(objective, subspace)
        found = rows(evaluate, subspace)
        for row, c in zip(found, subspace.coefficients(COORDINATES), strict=True):
            by_hand = at(models[0], list(zip(c, subspace.basis.vectors, strict=True)))
            assert row[0] == pytest.approx(case.plain_loss(by_hand), rel=1e-11)
        used = {label.split(",")[0] for label in evaluate.used}
        assert used >= {"loop", "traced", "folded"}
        assert sum(evaluate.used.values()) == len(COORDINATES)
    assert "loop" not in Local(objective, subspace.basis, objective.resolve(False)).plan.failed


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("case", CASES[:2], ids=lambda c: c.name)
def test_a_model_is_its_own_loss_to_the_last_bit_by_every_strategy(case, strategy):
    models = [case.model(seed) for seed in range(3)]
    objective, plane = case.objective(batchnorm="frozen"), lw.Plane.through(*models)
    coordinates = [[0.3, 0.4], [0, 0], [0.2, 0.1], [1, 0], [0, 1], [0.5, 0.5]]
    found = rows(local(objective, plane, strategy=strategy), plane, coordinates)[:, 0]
    own = []
    for i in range(3):
        model = models[i]
        for name, buffer in model.named_buffers():
            buffer.copy_(dict(models[0].named_buffers())[name])
        own.append(case.plain_loss(model))
    assert [found[1], found[3], found[4]] == own
    around = lw.Plane.random(models[0])
    assert rows(local(objective, around, strategy=strategy), around, [[0.1, 0.2], [0, 0]])[1, 0] == own[0]
    assert own[0] == objective.measure(models[0])["loss"]


@pytest.mark.parametrize("mode", ["frozen", "recalibrate", "batch"])
def test_batch_norm_modes_agree_with_the_loop(mode, impatient):
    x, y = CNN.samples(torch.float64)
    batches = [(x[:10], y[:10]), (x[10:20], y[10:20]), (x[20:], y[20:])]
    metrics = {"error": lw.metrics.error}
    objective = lw.Objective(CNN.model(0, torch.float64), batches, loss=CNN.loss, batchnorm=mode, metrics=metrics)
    line = lw.Line(CNN.model(0, torch.float64), CNN.model(1, torch.float64), span=(-0.5, 1.5))
    t = np.linspace(-0.5, 1.5, 40)[:, None]
    loop = rows(local(objective, line, strategy="loop"), line, t)
    evaluate = local(objective, line)
    np.testing.assert_allclose(rows(evaluate, line, t), loop, rtol=1e-10)
    assert {label.split(",")[0] for label in evaluate.used} >= {"loop", "traced"}


def test_rows_come_in_the_order_of_the_points_with_models_among_them(impatient):
    a, b = MLP.model(0, torch.float64), MLP.model(1, torch.float64)
    objective, line = MLP.objective(torch.float64), lw.Line(a, b)
    t = np.linspace(0, 1, 33)[:, None]
    loop = rows(local(objective, line, strategy="loop"), line, t)
    for _ in range(2):
        np.testing.assert_allclose(rows(local(objective, line), line, t), loop, rtol=1e-12)
    np.testing.assert_allclose(rows(local(objective, line, strategy="batched"), line, t), loop, rtol=1e-12)


def test_no_points_are_no_rows():
    line = lw.Line.random(MLP.model())
    assert list(local(MLP.objective(), line)(np.empty((0, 2)))) == []


def test_a_model_whose_path_depends_on_values_goes_by_the_loop_and_says_why(impatient):
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            return self.a(x) if self.a(x).sum() > 0 else self.b(x)

    model = Branch()
    objective, plane = lw.Objective(model, MLP.samples(), loss=F.cross_entropy), lw.Plane.random(model)
    evaluate = local(objective, plane)
    found = rows(evaluate, plane)
    np.testing.assert_array_equal(found, rows(local(objective, plane, strategy="loop"), plane))
    assert {label.split(",")[0] for label in evaluate.used} == {"loop"}
    assert set(evaluate.facts()["not used"]) == {"traced", "folded", "batched"}
    assert "value" in evaluate.facts()["not used"]["traced"] or "data" in evaluate.facts()["not used"]["traced"]


@pytest.mark.parametrize("error", [2e-3, np.nan, np.inf])
@pytest.mark.parametrize("metric", [0, 1])
def test_what_differs_from_the_loop_is_not_used(error, metric, impatient, monkeypatch):
    row, many = Traced.row, Traced.rows

    def spoilt(values):
        values = values.copy()
        values[..., metric] += error * (1 if metric == 0 else 100)
        return values

    monkeypatch.setattr(Traced, "row", lambda self, c: spoilt(row(self, c)))
    monkeypatch.setattr(Traced, "rows", lambda self, c: spoilt(many(self, c)))
    model = MLP.model()
    metrics = {"error": lw.metrics.error}
    objective = lw.Objective(model, MLP.samples(), loss=MLP.loss, metrics=metrics)
    plane = lw.Plane.random(model)
    evaluate = local(objective, plane)
    np.testing.assert_array_equal(rows(evaluate, plane), rows(local(objective, plane, strategy="loop"), plane))
    assert set(evaluate.facts()["not used"]) == {"traced", "folded", "batched"}
    assert "instead of" in evaluate.facts()["not used"]["traced"]


def test_a_strategy_that_breaks_later_hands_over_to_the_loop(impatient, monkeypatch):
    calls, row = [], Traced.row

    def breaks(self, c):
        calls.append(1)
        if len(calls) > 5:
            raise ArithmeticError("it broke")
        return row(self, c)

    monkeypatch.setattr(Traced, "row", breaks)
    monkeypatch.setattr(Traced, "rows", breaks)
    objective, plane = MLP.objective(torch.float64), lw.Plane.random(MLP.model(0, torch.float64))
    evaluate = local(objective, plane)
    found = rows(evaluate, plane)
    np.testing.assert_allclose(found, rows(local(objective, plane, strategy="loop"), plane), rtol=1e-12)
    assert "ArithmeticError: it broke" in evaluate.facts()["not used"].values()


def test_a_strategy_that_was_asked_for_is_not_replaced(monkeypatch):
    monkeypatch.setattr(Traced, "row", lambda self, c: 1 / 0)
    plane = lw.Plane.random(MLP.model())
    with pytest.raises(ZeroDivisionError):
        rows(local(MLP.objective(), plane, strategy="traced"), plane)


def test_running_out_of_memory_halves_the_points_that_are_taken_at_once(monkeypatch):
    sizes, many = [], Traced.rows

    def limited(self, c):
        sizes.append(len(c))
        if len(c) > 2:
            raise torch.OutOfMemoryError("no")
        return many(self, c)

    monkeypatch.setattr(Traced, "rows", limited)
    objective, plane = MLP.objective(torch.float64), lw.Plane.random(MLP.model(0, torch.float64))
    evaluate = local(objective, plane, strategy="batched")
    found = rows(evaluate, plane, COORDINATES[:9])
    np.testing.assert_allclose(
        found, rows(local(objective, plane, strategy="loop"), plane, COORDINATES[:9]), rtol=1e-12
    )
    assert sizes[:3] == [8, 4, 2]
    assert sum(size for size in sizes if size <= 2) == 9


def test_when_not_even_one_point_fits_the_error_is_told(monkeypatch):
    def full(self, c):
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(Traced, "rows", full)
    objective, plane = MLP.objective(), lw.Plane.random(MLP.model())
    with pytest.raises(torch.OutOfMemoryError):
        rows(local(objective, plane, strategy="batched"), plane)


def test_as_many_points_as_fit_into_memory_are_taken_at_once(monkeypatch):
    sizes, many = [], Traced.rows
    monkeypatch.setattr(Traced, "rows", lambda self, c: sizes.append(len(c)) or many(self, c))
    objective, plane = MLP.objective(), lw.Plane.random(MLP.model())
    traced = []
    init = Traced.__init__
    monkeypatch.setattr(Traced, "__init__", lambda self, *a, **k: traced.append(self) or init(self, *a, **k))
    rows(local(objective, plane, strategy="batched"), plane, COORDINATES[:2])
    (found,) = traced
    monkeypatch.setattr(module_under_test, "free_memory", lambda device: 4 * 3.5 * found.bytes)
    del sizes[:]
    rows(local(objective, plane, strategy="batched"), plane, COORDINATES[:8])
    assert max(sizes) == 3


# --- threads and exceptions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["to the end", "closed", "an exception in the loss", "an exception in the caller"])
def test_after_sampling_the_number_of_threads_is_the_users(how, two_threads, impatient):
    seen, calls = set(), []

    def loss(model, batch):
        seen.add(torch.get_num_threads())
        calls.append(1)
        if how == "an exception in the loss" and len(calls) > 5:
            raise FloatingPointError("the user's own")
        return F.cross_entropy(model(batch[0]), batch[1])

    objective = lw.Objective(MLP.model(), MLP.samples(), loss=loss)
    plane = lw.Plane.random(MLP.model())
    values = local(objective, plane)(bound(objective, plane).coefficients(COORDINATES))
    if how == "to the end":
        assert len(list(values)) == len(COORDINATES)
    elif how == "closed":
        for _ in range(4):
            next(values)
            assert torch.get_num_threads() == 2  # nor is it changed where the caller works
        values.close()
    elif how == "an exception in the caller":
        next(values), next(values)
        with pytest.raises(KeyError):
            values.throw(KeyError())
    else:
        with pytest.raises(FloatingPointError, match="the user's own"):
            list(values)
    assert torch.get_num_threads() == 2
    assert seen == {1, 2} or how != "to the end"


def test_an_exception_of_the_loss_at_one_point_is_the_users_own_however_it_is_computed(impatient):
    """Found while tracing or verifying, it must not turn into a RuntimeError of a generator that has ended."""

    def loss(output, target):
        if float(output.abs().max()) > 40:
            raise FloatingPointError("overflow, says the user")
        return F.cross_entropy(output, target)

    model = nn.Linear(6, 3)
    objective, line = lw.Objective(model, MLP.samples(), loss=loss), lw.Line.random(model, span=100)
    for t in (np.r_[np.linspace(0.1, 1, 7), 90.0], np.r_[90.0, np.linspace(0.1, 1, 7)]):
        with pytest.raises(FloatingPointError, match="says the user"):
            rows(local(objective, line), line, t[:, None])
    assert len(rows(local(objective, line), line, np.linspace(0.1, 1, 7)[:, None])) == 7


def test_the_loop_goes_on_after_an_exception():
    def loss(output, target):
        if float(output.abs().max()) > 40:
            raise FloatingPointError
        return F.cross_entropy(output, target)

    model = nn.Linear(6, 3)
    objective, line = lw.Objective(model, MLP.samples(), loss=loss), lw.Line.random(model, span=100)
    loop = module_under_test._Loop(objective, line.basis, "none")
    first = loop(np.array([1.0, 0.5]))
    with pytest.raises(FloatingPointError):
        loop(np.array([1.0, 90.0]))
    assert loop(np.array([1.0, 0.5])) == first
    loop.close()


@pytest.mark.parametrize("mode", ["frozen", "recalibrate", "batch"])
def test_threads_that_evaluate_one_objective_at_once_are_right(mode, impatient):
    objective = CNN.objective(torch.float64, batchnorm=mode)
    planes = [lw.Plane.random(CNN.model(0, torch.float64), (i, i + 1)) for i in range(3)]
    expected = [rows(local(objective, plane, strategy="loop"), plane) for plane in planes]
    call, found, errors = nn.Module.__call__, {}, []

    def work(i):
        try:
            found[i] = rows(local(objective, planes[i]), planes[i])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for i in range(3):
        np.testing.assert_allclose(found[i], expected[i], rtol=1e-10)
    assert nn.Module.__call__ is call
    assert torch.get_num_threads() == 1


def test_an_objective_that_is_gone_takes_its_graphs_along():
    plane = lw.Plane.random(MLP.model())

    def use():
        objective = MLP.objective()
        rows(local(objective, plane, strategy="folded"), plane)
        return weakref.ref(objective)

    gone = use()
    gc.collect()
    assert gone() is None


def test_a_slider_that_moves_on_measures_nothing_again(impatient):
    objective, model = MLP.objective(torch.float64), MLP.model(0, torch.float64)
    plane = lw.Plane.random(model)
    rows(local(objective, plane), plane)
    other = lw.Plane.random(model, (5, 6))
    evaluate = local(objective, other)
    assert evaluate.plan is local(objective, plane).plan
    found = rows(evaluate, other)
    np.testing.assert_allclose(found, rows(local(objective, other, strategy="loop"), other), rtol=1e-12)
    assert sum(n for label, n in evaluate.used.items() if label.startswith("loop")) <= 2 * len(STRATEGIES)


def test_provenance_says_how_it_was_computed(impatient):
    objective = MLP.objective()
    landscape = lw.sample(objective, lw.Plane.random(MLP.model()), resolution=9, tolerance=0)
    told = landscape.provenance["sampling"]["strategies"]
    assert sum(told.values()) == 81
    assert {label.split(",")[0] for label in told} >= {"loop", "traced", "folded"}


# --- verification -------------------------------------------------------------------------------------------------


def off_by(monkeypatch, relative):
    """Traced graphs that are wrong by so much in every metric."""
    right = Traced.row
    monkeypatch.setattr(Traced, "row", lambda self, coefficients: right(self, coefficients) * (1 + relative))
    monkeypatch.setattr(Traced, "rows", lambda self, c: np.array([Traced.row(self, row) for row in c]))


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-3), (torch.float64, 1e-7)])
def test_a_strategy_that_differs_by_more_than_rounding_is_not_used(impatient, monkeypatch, dtype, relative):
    inputs, labels = MLP.samples(dtype)
    objective = lw.Objective(MLP.model().to(dtype), (inputs, labels), loss=MLP.loss, metrics={"twice": MLP.loss})
    plane = bound(objective, lw.Plane.random(MLP.model().to(dtype), (0, 1)))
    off_by(monkeypatch, relative)
    local = Local(objective, plane.basis, "none")
    list(local(plane.coefficients(COORDINATES)))
    assert "differs from the loop" in local.facts()["not used"]["traced"]
    assert not any(label.startswith(("traced", "folded", "batched")) for label in local.used)


@pytest.mark.parametrize("relative", [0.0, 1e-6])
def test_rounding_is_no_difference(impatient, monkeypatch, relative):
    objective, plane = MLP.objective(), lw.Plane.random(MLP.model(), (0, 1))
    plane = bound(objective, plane)
    off_by(monkeypatch, relative)
    local = Local(objective, plane.basis, "none")
    list(local(plane.coefficients(COORDINATES)))
    assert "traced" not in local.plan.failed


def test_agreement_about_infinity_verifies_nothing(impatient, monkeypatch):
    inputs, labels = MLP.samples()

    def loss(output, target):
        return F.cross_entropy(output, target) * torch.where(output.abs().max() > 0, torch.inf, 1.0)

    objective = lw.Objective(MLP.model(), (inputs, labels), loss=loss)
    plane = bound(objective, lw.Plane.random(MLP.model(), (0, 1)))
    off_by(monkeypatch, 0.5)
    local = Local(objective, plane.basis, "none")
    rows = list(local(plane.coefficients(COORDINATES)))
    assert np.isinf(rows).all()
    assert not local.plan.verified
    assert not any(label.startswith(("traced", "folded", "batched")) for label in local.used)


def test_a_graph_traced_under_autocast_is_not_used_without_it(impatient):
    objective = MLP.objective()
    plane = bound(objective, lw.Plane.random(MLP.model(), (0, 1)))
    rows = plane.coefficients(COORDINATES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = np.array(list(Local(objective, plane.basis, "none")(rows)))
        alone = np.array(list(Local(MLP.objective(), plane.basis, "none", strategy="loop")(rows)))
    np.testing.assert_array_equal(narrow, alone)
    wide = np.array(list(Local(objective, plane.basis, "none")(rows)))
    right = np.array(list(Local(MLP.objective(), plane.basis, "none", strategy="loop")(rows)))
    np.testing.assert_allclose(wide, right, rtol=1e-6)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "cache.bin"),
            "FileNotFoundError: No such file or directory",
        ),
        (
            ImportError("cannot import name 'a' from 'b' (/home/ada/b.py)"),
            "ImportError: cannot import name 'a' from 'b' (...)",
        ),
        (OSError("/home/ada/x is full"), "OSError: ... is full"),
        (RuntimeError("in C:\\Users\\ada\\net.py"), "RuntimeError: in ..."),
        (ValueError("one\ntwo '/home/ada'"), "ValueError: one"),
    ],
)
def test_what_is_kept_of_a_failure_has_no_path(impatient, monkeypatch, error, told):
    """It goes into files that people share."""
    monkeypatch.setattr(Traced, "row", lambda *_: (_ for _ in ()).throw(error))
    objective = MLP.objective()
    landscape = lw.sample(objective, lw.Plane.random(MLP.model()), resolution=9, tolerance=0, cache=False)
    assert landscape.provenance["sampling"]["not used"]["traced"] == told
