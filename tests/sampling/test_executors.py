"""Rows from threads, processes and a dask cluster: the same bits, in order, whatever dies, fails or stops."""

import itertools
import multiprocessing
import os
import pickle
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.sampling import executors
from lwidgets.sampling.evaluate import Local
from lwidgets.sampling.executors import Spread
from tests.models import CASES, MLP, at, named

pytestmark = [
    # Python 3.12 warns of every fork beside threads, and the cluster of this file has some.
    pytest.mark.filterwarnings(r"ignore:.*use of fork\(\) may lead to deadlocks in the child:DeprecationWarning"),
    # distributed tells of the workers that a test kills, and of closing what they left open.
    pytest.mark.filterwarnings("ignore::ResourceWarning:distributed"),
]
KINDS = ("thread", "spawn", "fork", "dask")
LINE = np.linspace(0.0, 1.0, 30)


@pytest.fixture(scope="module")
def pools():
    """Each kind of executor with two workers, made when it is first asked for."""
    made = {}
    with ExitStack() as stack:

        def pool(kind):
            if kind not in made:
                made[kind] = start(kind, stack)
            return made[kind]

        yield pool


def start(kind, stack):
    if kind == "thread":
        return stack.enter_context(ThreadPoolExecutor(2))
    if kind != "dask":
        return stack.enter_context(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind)))
    distributed = pytest.importorskip("distributed")
    cluster = stack.enter_context(
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
    )
    return stack.enter_context(distributed.Client(cluster)).get_executor()


class Elsewhere(Executor):
    """Workers in processes of their own, played by this one in turn: everything is pickled, nothing is shared.

    A task with a parcel is done only when ``late`` further tasks were.
    """

    def __init__(self, monkeypatch, workers, late=0):
        self._max_workers = workers
        self.calls = []
        self.shipped = Counter()
        self._monkeypatch = monkeypatch
        kinds = ("_benches", "_objectives", "_bases")
        memories = [{kind: executors._Recent() for kind in kinds} for _ in range(workers)]
        self._turn = itertools.cycle(enumerate(memories))
        self._late, self._waiting = late, []

    def submit(self, function, job, ticket, coefficients, parcel):
        task = Future(), function, pickle.dumps((job, ticket, coefficients, parcel))
        self.calls.append(task[2])
        for name in parcel:
            self.shipped["objective" if name == job.objective else "basis"] += 1
        self._waiting = [(left - 1, held) for left, held in self._waiting]
        if parcel and self._late:
            self._waiting.append((self._late, task))
        else:
            self.work(*task)
        for left, held in self._waiting:
            if left == 0:
                self.work(*held)
        return task[0]

    def work(self, future, function, call):
        number, memory = next(self._turn)
        with self._monkeypatch.context() as patch:
            patch.setattr(executors, "_process", lambda: f"worker {number}")
            patch.setattr(executors, "_live", {})
            for name, recent in memory.items():
                patch.setattr(executors, name, recent)
            future.set_result(pickle.loads(pickle.dumps(function(*pickle.loads(call)))))


def plane_of(objective, seed=0, count=37):
    """A plane around the model, and points in it; the first is the model itself."""
    plane = lw.Plane.random(objective.module, seeds=(seed, seed + 1)).bound(objective.space, objective.device)
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 2))
    points[0] = 0
    return plane.basis, plane.coefficients(points), objective.resolve(False)


def by_hand(objective, basis, coefficients, batchnorm):
    """The plain loop of one thread in this process."""
    return list(Local(objective, basis, batchnorm, strategy="loop", threads=1)(coefficients))


def over(objective, basis, batchnorm, pool):
    return Spread(objective, basis, batchnorm, pool, strategy="loop")


class Weight(nn.Module):
    """One number w; the loss of a test knows by it which point it is given."""

    def __init__(self, w=0.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w], dtype=torch.float64))

    def forward(self, x):
        return self.w * x


def line_of(loss):
    """An objective over w from 0 to 1, and one point for each of LINE."""
    objective = lw.Objective(Weight(), torch.ones(1, dtype=torch.float64), loss=loss)
    line = lw.Line(Weight(0.0), Weight(1.0)).bound(objective.space, objective.device)
    return objective, line.basis, line.coefficients(LINE[:, None])


@dataclass
class Square:
    """w^2, with an incident at w >= place, in worker processes only or everywhere."""

    place: float = 2.0
    home: int = 0

    def __call__(self, model, batch):
        w = model.w.item()
        if w >= self.place and os.getpid() != self.home:
            self.happen()
        return (model(batch) ** 2).sum()

    def happen(self):
        raise ArithmeticError(f"no value from {self.place} on")


@dataclass
class Deadly(Square):
    """The process that comes there first dies; with no flag, every one does."""

    flag: str = ""

    def happen(self):
        try:
            if self.flag:
                os.close(os.open(self.flag, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os._exit(1)


@dataclass
class Homebound(Square):
    """Can be sent, and cannot be loaded."""

    def __reduce__(self):
        return missing_module, ()


def missing_module():
    raise ModuleNotFoundError("No module named 'my_models'")


def waves(u):
    return {"loss": (u**2).sum(dim=1), "wave": torch.sin(3 * u[:, 0]) * torch.cos(5 * u[:, 1])}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_rows_are_those_of_the_plain_loop_to_the_last_bit(kind, case, pools):
    objective = case.objective(metrics={"norm": norm})
    basis, coefficients, batchnorm = plane_of(objective)
    evaluate = over(objective, basis, batchnorm, pools(kind))
    expected = by_hand(objective, basis, coefficients, batchnorm)
    np.testing.assert_array_equal(list(evaluate(coefficients)), expected)
    np.testing.assert_array_equal(list(evaluate(coefficients[20:])), expected[20:])
    assert list(evaluate(coefficients[:0])) == []
    model, (first, second) = objective.module, basis.vectors[1:]
    _, x, y = coefficients[5]
    assert expected[5][0] == pytest.approx(
        case.plain_loss(at(model, [(1, named(model)), (x, first), (y, second)])), rel=2e-5
    )


def norm(model, batch):
    return sum((p**2).sum() for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_an_analytic_function_gives_its_own_values(kind, pools):
    objective, plane = lw.Objective.from_function(waves, 2), lw.Subspace.identity(2)
    points = np.random.default_rng(1).uniform(-2, 2, (500, 2))
    rows = list(Spread(objective, plane.basis, "none", pools(kind))(plane.coefficients(points)))
    x, y = points.T
    np.testing.assert_allclose(rows, np.stack([x**2 + y**2, np.sin(3 * x) * np.cos(5 * y)], axis=1), rtol=1e-12)


@pytest.mark.parametrize("kind", ["spawn", "dask"])
def test_what_a_notebook_defines_reaches_another_process(kind, pools):
    pytest.importorskip("cloudpickle")
    scale = 3.0
    objective, basis, coefficients = line_of(lambda model, batch: scale * model(batch).sum())
    rows = list(Spread(objective, basis, "none", pools(kind))(coefficients))
    np.testing.assert_allclose(np.ravel(rows), 3 * LINE, rtol=1e-12, atol=1e-15)


def test_without_a_strategy_values_agree_to_rounding_and_provenance_counts_every_point(pools):
    objective = MLP.objective()
    basis, coefficients, batchnorm = plane_of(objective)
    evaluate = Spread(objective, basis, batchnorm, pools("spawn"))
    np.testing.assert_allclose(
        list(evaluate(coefficients)), by_hand(objective, basis, coefficients, batchnorm), rtol=1e-4
    )
    assert evaluate.facts()["executor"] == "ProcessPoolExecutor"
    assert sum(evaluate.facts()["strategies"].values()) == len(coefficients)


@pytest.mark.parametrize(("kind", "threads"), [("thread", 2), ("spawn", 1), ("fork", 1)])
def test_worker_processes_use_one_thread_and_this_one_keeps_its_own(kind, threads):
    objective = MLP.objective()
    basis, coefficients, batchnorm = plane_of(objective)
    torch.set_num_threads(2)
    (torch.ones(500, 500) @ torch.ones(500, 500)).sum()  # OpenMP has its threads before a fork
    with ExitStack() as stack:
        evaluate = over(objective, basis, batchnorm, start(kind, stack))
        list(evaluate(coefficients[1:]))
    assert evaluate.facts()["strategies"] == {f"loop, {threads} thread{'s' * (threads > 1)}": len(coefficients) - 1}
    assert torch.get_num_threads() == 2


def test_the_objective_travels_once_to_each_worker_and_a_new_basis_alone(monkeypatch):
    crew = Elsewhere(monkeypatch, workers=3)
    objective = MLP.objective()
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 0)
    for seed in range(3):
        basis, coefficients, batchnorm = plane_of(objective, seed)
        for _ in range(2):
            rows = list(over(objective, basis, batchnorm, crew)(coefficients))
            np.testing.assert_array_equal(rows, by_hand(objective, basis, coefficients, batchnorm))
        assert crew.shipped == {"objective": 3, "basis": 3 * (seed + 1)}
    assert len(crew.calls) >= 6 * len(coefficients)
    assert len(set(crew.calls)) == len(crew.calls)  # equal calls would be answered from a cluster's memory


def test_a_worker_that_waits_for_its_parcel_is_not_sent_another(monkeypatch):
    crew = Elsewhere(monkeypatch, workers=1, late=7)
    crew._max_workers = 8  # as many threads of one process
    objective, basis, coefficients = line_of(Square())
    rows = list(over(objective, basis, "none", crew)(coefficients))
    np.testing.assert_allclose(np.ravel(rows), LINE**2, rtol=1e-12)
    assert crew.shipped == {"objective": 1, "basis": 1}


def test_many_quick_rows_are_few_tasks(monkeypatch):
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 1e6)
    crew = Elsewhere(monkeypatch, workers=2)
    objective, plane = lw.Objective.from_function(waves, 2), lw.Subspace.identity(2)
    points = np.random.default_rng(1).uniform(-2, 2, (500, 2))
    assert len(list(Spread(objective, plane.basis, "none", crew)(plane.coefficients(points)))) == 500
    assert len(crew.calls) <= 10


def test_a_worker_prepares_an_evaluation_once(monkeypatch):
    made = []
    monkeypatch.setattr(executors, "Local", lambda *a, **options: made.append(a) or Local(*a, **options))
    objective = MLP.objective()
    basis, coefficients, batchnorm = plane_of(objective)
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 0)
    list(over(objective, basis, batchnorm, Elsewhere(monkeypatch, workers=3))(coefficients))
    assert len(made) == 3


def test_a_worker_that_forgot_is_told_again(monkeypatch):
    crew = Elsewhere(monkeypatch, workers=1)
    studies = []
    for seed in range(executors._KEPT + 2):
        objective = MLP.objective()
        studies.append((objective, *plane_of(objective, seed, count=9)))
    for objective, basis, coefficients, batchnorm in studies * 2:
        rows = list(over(objective, basis, batchnorm, crew)(coefficients))
        np.testing.assert_array_equal(rows, by_hand(objective, basis, coefficients, batchnorm))
    assert crew.shipped == {"objective": 2 * len(studies), "basis": 2 * len(studies)}


@pytest.mark.parametrize("kind", ["spawn", "dask"])
def test_real_workers_are_sent_little_more_than_once(kind, pools, monkeypatch):
    pool, shipped = pools(kind), Counter()
    submit = pool.submit

    def watched(function, job, ticket, coefficients, parcel):
        shipped["tasks"] += 1
        shipped.update("objective" for name in parcel if name == job.objective)
        return submit(function, job, ticket, coefficients, parcel)

    monkeypatch.setattr(pool, "submit", watched)
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 0)
    objective = MLP.objective()
    basis, coefficients, batchnorm = plane_of(objective, count=100)
    list(over(objective, basis, batchnorm, pool)(coefficients))
    assert shipped["tasks"] >= 100
    assert 1 <= shipped["objective"] <= 6


def test_threads_are_sent_nothing(pools, monkeypatch):
    monkeypatch.setattr(executors, "_dumps", None)
    lock = threading.Lock()
    objective, basis, coefficients = line_of(lambda model, batch: (model(batch) * (lock is not None)).sum())
    rows = list(Spread(objective, basis, "none", pools("thread"))(coefficients))
    np.testing.assert_allclose(np.ravel(rows), LINE, rtol=1e-12, atol=1e-15)


def test_workers_go_on_while_the_first_row_is_slow_and_rows_still_come_in_order(pools, monkeypatch):
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 0)
    last = threading.Event()

    def f(u):
        if u[0, 0] == 1:
            assert last.wait(60)
        if u[0, 0] == 40:
            last.set()
        return u[:, 0]

    objective, line = lw.Objective.from_function(f, 1), lw.Subspace.identity(1)
    points = np.arange(1.0, 41.0)
    rows = list(Spread(objective, line.basis, "none", pools("thread"))(line.coefficients(points[:, None])))
    assert np.ravel(rows).tolist() == points.tolist()


@pytest.mark.parametrize("how", ["close", "raise"])
def test_a_stop_waits_for_nothing_and_leaves_nothing_to_be_done(how, monkeypatch):
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 0)
    gate, calls = threading.Event(), []

    def f(u):
        calls.append(float(u[0, 0]))
        assert u[0, 0] < 3 or gate.wait(60)
        return u[:, 0]

    objective, line = lw.Objective.from_function(f, 1), lw.Subspace.identity(1)
    calls.clear()
    with ThreadPoolExecutor(2) as pool:
        rows = Spread(objective, line.basis, "none", pool)(line.coefficients(np.arange(100.0)[:, None]))
        if how == "close":
            assert [next(rows).item() for _ in range(3)] == [0, 1, 2]
            rows.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                interrupted_at(2, rows)
            del rows
        gate.set()
    assert len(calls) <= 3 + 2  # what two threads had begun


def interrupted_at(place, rows):
    for row in rows:
        if row.item() == place:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_at_a_point_comes_out_in_its_turn_with_the_place_it_came_from(kind, pools):
    objective, basis, coefficients = line_of(Square(place=0.5))
    seen = []
    with pytest.raises(ArithmeticError, match=r"no value from 0\.5 on") as caught:
        seen.extend(over(objective, basis, "none", pools(kind))(coefficients))  # extend keeps what came before
    np.testing.assert_allclose(np.ravel(seen), LINE[LINE < 0.5] ** 2, rtol=1e-12)
    assert "in happen" in "".join(traceback.format_exception(caught.value))
    objective, basis, coefficients = line_of(Square())  # and the pool is as good as before
    assert len(list(over(objective, basis, "none", pools(kind))(coefficients))) == len(LINE)


def test_nothing_beyond_an_exception_is_begun(pools, monkeypatch):
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 0)
    failed, calls = threading.Event(), []

    def f(u):
        calls.append(float(u[0, 0]))
        if u[0, 0] == 1:
            assert failed.wait(60)
            time.sleep(0.3)  # in which the other thread could do all the rest
        if u[0, 0] == 2:
            failed.set()
            raise ArithmeticError("no value at 2")
        return u[:, 0]

    objective, line = lw.Objective.from_function(f, 1), lw.Subspace.identity(1)
    calls.clear()
    rows = Spread(objective, line.basis, "none", pools("thread"))(line.coefficients(np.arange(1.0, 101.0)[:, None]))
    assert next(rows).item() == 1
    with pytest.raises(ArithmeticError, match="no value at 2"):
        next(rows)
    assert len(calls) <= 4


@pytest.mark.parametrize("kind", ["spawn", "fork"])
def test_a_killed_process_loses_no_point(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "CHUNK_SECONDS", 0)
    loss = Deadly(place=0.7, home=os.getpid(), flag=str(tmp_path / "dead"))
    objective, basis, coefficients = line_of(loss)
    here = counted(objective, monkeypatch)
    expected = by_hand(objective, basis, coefficients, "none")
    here.clear()
    with ExitStack() as stack:
        evaluate = over(objective, basis, "none", start(kind, stack))
        with pytest.warns(RuntimeWarning, match=r"ProcessPoolExecutor failed \(BrokenProcessPool") as told:
            rows = list(evaluate(coefficients))
        assert len(told) == 1
        assert told[0].filename == __file__
        np.testing.assert_array_equal(rows, expected)
        begun = (LINE < 0.7).sum() - 4  # at most four tasks are out, so these had come back
        assert 0 < len(here) <= len(LINE) - begun
        assert sum(evaluate.facts()["strategies"].values()) == len(LINE)
        np.testing.assert_array_equal(list(evaluate(coefficients)), expected)  # and warns no second time


def counted(objective, monkeypatch):
    """The evaluations of this process."""
    calls, measure = [], objective._measure
    monkeypatch.setattr(type(objective), "_measure", lambda self, *a: (calls.append(1), measure(*a))[1])
    return calls


@pytest.mark.parametrize("again", [True, False], ids=["rescheduled", "given up"])
def test_a_killed_worker_of_a_cluster_loses_no_point(again, pools, tmp_path, monkeypatch):
    pool = pools("dask")
    monkeypatch.setattr(pool._client.cluster.scheduler, "allowed_failures", 3 if again else 0)
    loss = Deadly(place=0.7, home=os.getpid(), flag=str(tmp_path / "dead") if again else "")
    objective, basis, coefficients = line_of(loss)
    evaluate = over(objective, basis, "none", pool)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        rows = list(evaluate(coefficients))
    assert [str(w.message).partition(":")[0] for w in told if w.category is RuntimeWarning] == ["sample"] * (not again)
    assert "KilledWorker" in str([w.message for w in told]) or again
    np.testing.assert_array_equal(rows, by_hand(objective, basis, coefficients, "none"))
    pool._client.wait_for_workers(2, timeout=60)


@pytest.mark.parametrize("with_cloudpickle", [True, False])
def test_what_cannot_be_pickled_is_named_and_the_advice_works(with_cloudpickle, pools, monkeypatch):
    if not with_cloudpickle:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    lock = threading.Lock()
    objective, basis, coefficients = line_of(lambda model, batch: (model(batch) * (lock is not None)).sum())
    with pytest.raises(TypeError, match=r"got objective\._measures\['loss'\]\.given = <function .*lambda") as caught:
        list(Spread(objective, basis, "none", pools("spawn"))(coefficients))
    assert ("install cloudpickle" in str(caught.value)) is not with_cloudpickle
    assert "or use a ThreadPoolExecutor" in str(caught.value)
    assert len(list(Spread(objective, basis, "none", pools("thread"))(coefficients))) == len(LINE)


def test_without_cloudpickle_what_a_file_defines_still_travels(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    objective, basis, coefficients = line_of(Square())
    rows = list(over(objective, basis, "none", Elsewhere(monkeypatch, workers=2))(coefficients))
    np.testing.assert_allclose(np.ravel(rows), LINE**2, rtol=1e-12)


def test_a_part_that_holds_itself_is_no_trap_for_the_message(pools):
    objective = lw.Objective(MLP.model(), MLP.samples(), loss=F.cross_entropy)
    objective.module.owner = [objective.module.__dict__, threading.Lock()]
    basis, coefficients, batchnorm = plane_of(MLP.objective())
    with pytest.raises(TypeError, match=r"objective\.module\.owner\[1\] = <unlocked"):
        list(over(objective, basis, batchnorm, pools("spawn"))(coefficients))


def test_a_worker_that_cannot_load_it_says_why(pools):
    objective, basis, coefficients = line_of(Homebound())
    with pytest.raises(RuntimeError, match=r"load what they evaluate, got ModuleNotFoundError: .*my_models"):
        list(over(objective, basis, "none", pools("spawn"))(coefficients))


@pytest.mark.parametrize("name", ["Client", "Pool"])
def test_what_is_no_executor_is_refused_by_name(name):
    objective, basis, _ = line_of(Square())
    with pytest.raises(TypeError, match=rf"got {name}\. Pass a .*ProcessPoolExecutor, or client\.get_executor\(\)"):
        Spread(objective, basis, "none", type(name, (), {})())


@pytest.mark.parametrize("kind", ["thread", "fork"])
def test_an_executor_that_was_shut_down_is_refused(kind):
    objective, basis, coefficients = line_of(Square())
    with ExitStack() as stack:
        pool = start(kind, stack)
    with pytest.raises(RuntimeError, match=r"must accept work, got .*PoolExecutor which says 'cannot schedule"):
        list(over(objective, basis, "none", pool)(coefficients))


@pytest.mark.parametrize("kind", ["thread", "spawn"])
def test_two_pictures_share_a_pool(kind, pools):
    objective = MLP.objective()
    first, second = (plane_of(objective, seed) for seed in (0, 5))
    pairs = zip(
        *(over(objective, basis, mode, pools(kind))(c) for basis, c, mode in (first, second)),
        strict=True,
    )
    expected = zip(*(by_hand(objective, *study) for study in (first, second)), strict=True)
    np.testing.assert_array_equal(list(pairs), list(expected))


@pytest.mark.parametrize("when", [0, 5])
def test_a_dask_client_that_is_closed_loses_nothing(when):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        client = distributed.Client(cluster)
        pool = client.get_executor()

        def progress(done, total):
            if done == when:
                client.close()

        if when == 0:
            client.close()
        objective = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=1)
        with pytest.warns(RuntimeWarning, match="its client is clos|CancelledError"):
            landscape = lw.sample(
                objective,
                lw.Subspace.identity(1),
                resolution=65,
                tolerance=0,
                executor=pool,
                progress=progress,
                cache=False,
            )
    np.testing.assert_array_equal(landscape.values["loss"], landscape.coords[0] ** 2)
