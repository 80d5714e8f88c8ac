"""Remembered values: the right ones, no others, whatever happens to the folder."""

import errno
import os
import platform
import shutil
import subprocess
import sys
import threading
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lwidgets as lw
from lwidgets.sampling.cache import Cache, Remembered, resolve_cache
from lwidgets.sampling.evaluate import local
from lwidgets.sampling.identity import identity
from tests.models import CASES

ROOT = Path(__file__).parents[2]
HEADER, RECORD = 24, 8 * (3 + 2) + 8  # of a file with three coefficients and two metrics


def points(count, vectors=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, vectors))


def truth(coefficients):
    """Two metrics of a point, one of them nan or infinite at times."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([coefficients.sum(axis=1), np.log(coefficients[:, 0])], axis=1)


class Counted:
    """Measures `truth` and keeps account."""

    def __init__(self):
        self.calls, self.rows, self.closed = 0, [], 0

    def __call__(self, coefficients):
        self.calls += 1
        try:
            for row, value in zip(coefficients, truth(coefficients), strict=True):
                self.rows.append(row.copy())
                yield value
        finally:
            self.closed += 1


def measured(cache, coefficients, identity="a"):
    """The values by way of a cache, and how many rows had to be measured."""
    counted = Counted()
    rows = list(Remembered(counted, cache, identity, 2)(coefficients))
    np.testing.assert_array_equal(np.reshape(rows, (-1, 2)), truth(coefficients))
    return len(counted.rows)


def the_file(folder):
    (found,) = folder.glob("*/*.values")
    return found


@pytest.fixture(params=["memory", "disk"])
def cache(request, tmp_path):
    return Cache(tmp_path / "cache" if request.param == "disk" else None)


# what is measured, and in which order


def test_unknown_rows_are_measured_in_one_call_and_all_rows_come_in_order(cache):
    c = points(7)
    assert measured(cache, c[[1, 4]]) == 2
    counted = Counted()
    evaluate = Remembered(counted, cache, "a", 2)
    np.testing.assert_array_equal(list(evaluate(c)), truth(c))
    assert counted.calls == 1
    np.testing.assert_array_equal(counted.rows, c[[0, 2, 3, 5, 6]])
    assert (evaluate.evaluated, evaluate.remembered) == (5, 2)
    assert list(evaluate(c[:0])) == []
    np.testing.assert_array_equal(list(evaluate(c[::-1])), truth(c[::-1]))
    assert counted.calls == 1, "nothing is asked for when everything is known"


def test_it_is_known_beforehand_which_rows_are_known(cache):
    c = points(5)
    measured(cache, c[[0, 3]])
    counted = Counted()
    assert Remembered(counted, cache, "a", 2).known(c).tolist() == [True, False, False, True, False]
    assert not counted.calls


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_whoever_stops_stops_the_measuring_and_loses_nothing(cache, stop):
    c = points(6)
    measured(cache, c[[2]])
    counted, held = Counted(), []
    rows = Remembered(lambda unknown: held.append(counted(unknown)) or held[0], cache, "a", 2)(c)
    for _ in range(stop):
        next(rows)
    assert len(counted.rows) == stop - (stop > 2)  # row 2 was known, and nothing is computed ahead
    rows.close()
    assert counted.closed == 1
    assert measured(cache, c) == 6 - stop - (stop < 3)


def test_an_exception_comes_out_after_the_rows_before_it_and_these_are_kept(cache):
    def failing(coefficients):
        yield from truth(coefficients[:2])
        raise ArithmeticError("third")

    c, rows = points(4), []
    with pytest.raises(ArithmeticError, match="third"):
        rows.extend(Remembered(failing, cache, "a", 2)(c))
    assert measured(cache, c) == 2


def test_an_inner_evaluation_that_ends_early_ends_the_rows(cache):
    c = points(4)
    evaluate = Remembered(lambda coefficients: iter(truth(coefficients[:1])), cache, "a", 2)
    assert len(list(evaluate(c))) == 1
    assert measured(cache, c) == 3


def test_changing_a_row_that_was_given_does_not_change_what_is_remembered(cache):
    c = points(2)
    for _ in range(3):
        for row in Remembered(Counted(), cache, "a", 2)(c):
            row += 1
    assert measured(cache, c) == 0


def test_negative_zero_is_zero_and_every_other_bit_counts(cache):
    measured(cache, np.array([[0.0, 1.0, 2.0]]))
    counted = Counted()
    assert len(list(Remembered(counted, cache, "a", 2)(np.array([[-0.0, 1.0, 2.0]])))) == 1
    assert not counted.calls
    assert measured(cache, np.array([[0.0, 1.0, np.nextafter(2.0, 3.0)], [1.0, 0.0, 2.0]])) == 2


def test_another_identity_and_other_numbers_of_vectors_or_metrics_never_hit(cache):
    c = points(3)
    measured(cache, c)
    assert measured(cache, c, "b") == 3
    assert measured(cache, np.column_stack([c, c])) == 3
    rows = list(Remembered(lambda x: iter(x[:, :1]), cache, "a", 1)(c))
    np.testing.assert_array_equal(rows, c[:, :1])
    for odd in ("../../up", "a/b", "ü" * 300, ""):  # any text is an identity
        assert measured(cache, c, odd) == 3
        assert measured(cache, c, odd) == 0


ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, -0.0, 1.5, float("inf")])), max_size=8)


@given(st.lists(st.tuples(ROWS, st.sampled_from("ab"), st.integers(0, 9), st.booleans()), max_size=6), st.booleans())
def test_it_does_what_a_dict_would_do(tmp_path_factory, steps, on_disk):
    """Against a plain dict: calls with repeated rows, two identities, stopped anywhere, opened anew at times."""
    folder = tmp_path_factory.mktemp("cache") if on_disk else None
    cache, model = Cache(folder), {}
    for pairs, name, stop, anew in steps:
        if anew and on_disk:
            cache = Cache(folder)
        c = np.array(pairs, dtype=float).reshape(-1, 2)
        counted = Counted()
        evaluate = Remembered(counted, cache, name, 2)
        expected_known = [(name, *pair) in model for pair in pairs]
        assert evaluate.known(c).tolist() == expected_known
        rows, expected_measured = evaluate(c), 0
        for pair, value in zip(pairs[:stop], truth(c), strict=False):
            np.testing.assert_array_equal(next(rows), value)
            expected_measured += (name, *pair) not in model
            model[name, *pair] = value
        rows.close()
        assert len(counted.rows) == evaluate.evaluated == expected_measured
        assert evaluate.remembered == len(pairs[:stop]) - expected_measured


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_landscape_is_the_same_to_the_last_bit(cache, case):
    objective = case.objective()
    plane = lw.Plane.random(case.model(), (3, 4)).bound(objective.space)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 3), indexing="ij"), -1).reshape(-1, 2)
    c = plane.coefficients(grid)
    plain = list(local(objective, plane.basis, "frozen", strategy="loop", threads=1)(c))
    for evaluate in (local(objective, plane.basis, "frozen", strategy="loop", threads=1), None):
        name = identity(objective, plane.basis, "frozen")
        np.testing.assert_array_equal(list(Remembered(evaluate, cache, name, 1)(c)), plain)


# memory


def test_the_identity_used_longest_ago_goes_first():
    a, b, c = (points(50, seed=i) for i in range(3))
    measured(lone := Cache(), a, "a")
    cache = Cache(budget=2 * lone.nbytes + 100)
    for name, rows in (("a", a), ("b", b), ("a", a), ("c", c)):
        measured(cache, rows, name)
        assert cache.nbytes <= cache.budget
    assert measured(cache, a, "a") == 0
    assert measured(cache, c, "c") == 0
    assert measured(cache, b, "b") == 50


def test_asking_about_many_identities_fills_no_memory():
    cache = Cache(budget=10_000)
    for i in range(100):
        assert not Remembered(Counted(), cache, str(i), 2).known(points(2)).any()
    assert 0 < cache.nbytes <= 10_000


@pytest.mark.parametrize("budget", [0, 5_000])
def test_an_identity_that_is_too_large_keeps_its_newest_rows_and_disk_keeps_all(tmp_path, budget):
    c = points(100)
    memory, disk = Cache(budget=budget), Cache(tmp_path, budget=budget)
    for cache in (memory, disk):
        assert measured(cache, c) == 100
        assert cache.nbytes <= max(budget, 1_000)
    assert 0 < measured(memory, c[-10:]) + (budget > 0) <= 10
    for _ in range(2):
        assert measured(disk, c) == 0
        assert measured(disk, c[::-1]) == 0


@pytest.mark.parametrize(("shelves", "rows", "vectors"), [(1, 4000, 3), (1, 3000, 12), (400, 3, 2)])
def test_the_bytes_are_counted_honestly(shelves, rows, vectors):
    tables = [points(rows, vectors, seed) for seed in range(shelves)]
    tracemalloc.start()
    cache = Cache()
    for i, table in enumerate(tables):
        for _ in Remembered(Counted(), cache, str(i), 2)(table):
            pass
    true, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.9 * true < cache.nbytes < 1.6 * true


# disk


def test_another_cache_on_the_folder_finds_everything_and_new_rows_as_they_come(tmp_path):
    c = points(9)
    one, two = Cache(tmp_path), Cache(str(tmp_path))
    assert measured(one, c[:3]) == 3
    assert measured(two, c[:6]) == 3
    assert measured(one, c) == 3, "rows that the other has written meanwhile are seen"
    assert measured(two, c) == 0
    assert measured(Cache(tmp_path), c) == 0


def test_the_format_is_as_documented(tmp_path):
    from hashlib import blake2b

    c = points(3)
    measured(Cache(tmp_path), c)
    data, shelf = the_file(tmp_path).read_bytes(), blake2b(b"3 2 a", digest_size=16).digest()
    assert the_file(tmp_path).parent.name == shelf.hex()
    expected = b"lwvalue1" + shelf
    for row in np.column_stack([c, truth(c)]).astype("<f8"):
        expected += row.tobytes() + blake2b(row.tobytes(), digest_size=8, key=shelf).digest()
    assert data == expected
    assert len(data) == HEADER + 3 * RECORD


def test_a_folder_is_made_when_it_is_needed_and_not_before(tmp_path):
    cache = Cache(tmp_path / "a" / "b")
    evaluate = Remembered(Counted(), cache, "a", 2)
    assert not evaluate.known(points(2)).any()
    assert not list(tmp_path.iterdir())
    list(evaluate(points(2)))
    assert the_file(tmp_path / "a" / "b").is_file()


REGIONS = {
    "magic": (0, 0),
    "shelf": (15, 0),
    "first coefficient": (HEADER + 3, 5),
    "value": (HEADER + 2 * RECORD + 26, 5),
    "checksum": (HEADER + 4 * RECORD + 41, 5),
    "last byte": (HEADER + 6 * RECORD - 1, 5),
}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_a_damaged_byte_costs_one_row_or_the_file_and_is_never_trusted(tmp_path, region, flip):
    place, left = REGIONS[region]
    c = points(6)
    measured(Cache(tmp_path), c)
    data = bytearray(the_file(tmp_path).read_bytes())
    data[place] ^= flip
    the_file(tmp_path).write_bytes(data)
    assert measured(Cache(tmp_path), c) == 6 - left  # `measured` compares all values with the truth
    assert measured(Cache(tmp_path), c) == 0, "what was damaged has been written anew"


@pytest.mark.parametrize("length", [0, 7, HEADER, HEADER + 1, HEADER + 3 * RECORD - 1, HEADER + 3 * RECORD])
def test_a_file_that_ends_too_early_is_read_as_far_as_it_is_whole(tmp_path, length):
    c = points(5)
    measured(Cache(tmp_path), c)
    os.truncate(the_file(tmp_path), length)
    assert measured(Cache(tmp_path), c) == 5 - max(0, (length - HEADER) // RECORD)


def test_foreign_files_and_folders_are_left_alone_and_not_believed(tmp_path):
    c = points(4)
    measured(Cache(tmp_path), c[:2], "a")
    measured(Cache(tmp_path), c, "b")
    folder = the_file_of(tmp_path, "a").parent
    (folder / "notes.txt").write_text("mine")
    (folder / "random.values").write_bytes(np.random.default_rng(0).bytes(500))
    (folder / "folder.values").mkdir()
    shutil.copy(the_file_of(tmp_path, "b"), folder / "moved.values")  # right format, another identity
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert measured(Cache(tmp_path), c, "a") == 2
    assert {path: path.read_bytes() for path in before} == before


def the_file_of(folder, name):
    from hashlib import blake2b

    (found,) = (folder / blake2b(f"3 2 {name}".encode(), digest_size=16).hexdigest()).glob("*.values")
    return found


def test_a_record_of_another_identity_behind_the_right_header_is_not_believed(tmp_path):
    c = points(4)
    measured(Cache(tmp_path), c[:1], "a")
    measured(Cache(tmp_path), c, "b")
    a, b = the_file_of(tmp_path, "a"), the_file_of(tmp_path, "b")
    a.write_bytes(a.read_bytes()[:HEADER] + b.read_bytes()[HEADER:])
    assert measured(Cache(tmp_path), c, "a") == 4


def test_a_file_whose_writer_has_only_begun_is_read_when_there_is_more(tmp_path):
    c = points(3)
    measured(Cache(tmp_path), c)
    whole = the_file(tmp_path).read_bytes()
    the_file(tmp_path).write_bytes(whole[:10])
    late = Cache(tmp_path)
    assert not Remembered(Counted(), late, "a", 2).known(c).any()
    the_file(tmp_path).write_bytes(whole[: HEADER + RECORD + 5])
    assert Remembered(Counted(), late, "a", 2).known(c).tolist() == [True, False, False]
    the_file(tmp_path).write_bytes(whole)
    assert Remembered(Counted(), late, "a", 2).known(c).all()


def test_nothing_in_the_folder_tells_who_or_where(tmp_path):
    measured(Cache(tmp_path), points(3))
    words = [os.fsencode(tmp_path), str(ROOT).encode(), platform.node().encode()]
    told = b"".join(os.fsencode(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert not any(word in the_file(tmp_path).read_bytes() + told for word in words)


# trouble with the disk


class Trouble:
    """Lets some bytes through and then fails, like a disk that is full."""

    def __init__(self, monkeypatch, after, error=errno.ENOSPC, torn=0):
        self.left, self.error, self.torn, self.write = after, error, torn, os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, file, data):
        if len(data) not in (HEADER, RECORD):  # pytest's own
            return self.write(file, data)
        self.left -= 1
        if self.left >= 0:
            return self.write(file, data)
        if self.torn:
            return self.write(file, data[: self.torn])
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize("after", [0, 1, 4])
@pytest.mark.parametrize("torn", [0, 10])
def test_a_full_disk_stops_nothing_and_is_told_once(tmp_path, monkeypatch, after, torn):
    c, cache = points(6), Cache(tmp_path / "here")
    trouble = Trouble(monkeypatch, after, torn=torn)
    with pytest.warns(RuntimeWarning, match=r"got '.*here': No space left on device\. .* in memory only"):
        assert measured(cache, c) == 6
    assert measured(cache, points(6, seed=1)) == 6  # a second warning would be an error
    assert measured(cache, c, "b") == 6
    assert measured(cache, c) == measured(cache, c, "b") == 0, "memory goes on"
    trouble.left = 10**6
    assert measured(cache, points(2, seed=2)) == 2
    monkeypatch.undo()
    assert measured(Cache(tmp_path / "here"), points(2, seed=2)) == 2, (
        "what comes after a torn record is not to be found"
    )
    assert measured(Cache(tmp_path / "here"), c) == 6 - max(0, after - 1), "what was written is believed, no more"


def test_a_folder_that_is_read_only_is_read_and_not_written(tmp_path, monkeypatch):
    c = points(6)
    measured(Cache(tmp_path), c[:2])
    whole, open_ = the_file(tmp_path).read_bytes(), os.open

    def refuse(path, flags, *rest, **named):
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(tmp_path)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return open_(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    cache = Cache(tmp_path)
    with pytest.warns(RuntimeWarning, match="Read-only file system"):
        assert measured(cache, c) == 4
    assert measured(cache, c) == 0
    assert measured(cache, c, "b") == 6
    assert the_file(tmp_path).read_bytes() == whole


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that even root cannot write to")
def test_a_folder_that_cannot_be_made_is_told_once():
    cache = Cache("/proc/self/lwidgets")
    with pytest.warns(RuntimeWarning, match=r"got '/proc/self/lwidgets': .* make room or choose another"):
        assert measured(cache, points(3)) == 3
    assert measured(cache, points(3), "b") == 3
    assert measured(cache, points(3)) == 0


def test_a_folder_that_cannot_be_listed_is_told_once(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    measured(Cache(tmp_path), points(3))
    cache = Cache(tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(RuntimeWarning, match="Permission denied"):
        assert measured(cache, points(3)) == 3
    assert measured(cache, points(4, seed=2)) == 4


def test_a_folder_that_vanishes_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("lwidgets.sampling.cache._MOMENT", 0.0)
    c, cache, folder = points(8), Cache(tmp_path / "c"), tmp_path / "c"
    rows = Remembered(Counted(), cache, "a", 2)(c)
    for _ in range(3):
        next(rows)
    shutil.rmtree(folder)
    for _ in range(2):
        next(rows)
    rows.close()
    assert measured(Cache(folder), c[3:5]) == 0, "what came after is on disk"
    shutil.rmtree(folder)
    assert measured(cache, c) == 3
    assert measured(Cache(folder), c[5:]) == 0


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path, inside):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"Cache: path must be a folder, got '.*taken.*', where 'taken' is a"):
        Cache(tmp_path / "taken" / inside)
    with pytest.raises(NotADirectoryError, match="Name a folder"):
        resolve_cache(str(tmp_path / "taken" / inside))


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="budget must be bytes, 0 or more, got -1"):
        Cache(budget=-1)


# processes and threads

WORKER = """
import os, sys
import numpy as np
from lwidgets.sampling import cache
from lwidgets.sampling.cache import Cache, Remembered

cache._MOMENT = 0.0

folder, first, count, stop = sys.argv[1], *map(int, sys.argv[2:])
table = np.random.default_rng(0).normal(size=(count, 3))
order = np.roll(np.arange(count), -first)

def evaluate(coefficients):
    print("looked up", flush=True)
    sys.stdin.readline()
    for i, row in enumerate(coefficients):
        if i == stop:
            os._exit(9)  # no clean-up at all
        yield np.array([row.sum(), row[0]])

rows = list(Remembered(evaluate, Cache(folder), "a", 2)(table[order]))
np.testing.assert_array_equal(np.array(rows)[:, 0], table[order].sum(axis=1))
"""


def start(folder, first, count, stop=-1):
    command = [sys.executable, "-c", WORKER, str(folder), str(first), str(count), str(stop)]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    return process


def plain_rows(table):
    return np.stack([table.sum(axis=1), table[:, 0]], axis=1)


def test_a_killed_process_leaves_all_that_it_had_measured(tmp_path):
    process = start(tmp_path, 0, 40, stop=17)
    process.communicate("go")
    assert process.returncode == 9
    seen = []

    def evaluate(coefficients):
        seen.append(len(coefficients))
        yield from plain_rows(coefficients)

    table = np.random.default_rng(0).normal(size=(40, 3))
    rows = list(Remembered(evaluate, Cache(tmp_path), "a", 2)(table))
    assert seen == [23]
    np.testing.assert_array_equal(rows, plain_rows(table))


def test_what_has_changed_meanwhile_is_not_stored(tmp_path):
    steady, looked = True, []

    def is_steady():
        looked.append(steady)
        return steady

    def evaluate(coefficients):
        nonlocal steady
        for i, row in enumerate(plain_rows(coefficients)):
            steady = i < 5
            yield row

    table = np.random.default_rng(0).normal(size=(8, 3))
    assert len(list(Remembered(evaluate, Cache(tmp_path), "a", 2, steady=is_steady)(table))) == 8
    assert looked
    assert not looked[-1]
    assert not Remembered(evaluate, Cache(tmp_path), "a", 2).known(table).any()


def test_what_is_forgotten_is_measured_again_in_memory_and_on_disk(tmp_path):
    table, held = points(5), Cache(tmp_path)
    first = Remembered(Counted(), held, "a", 2)
    list(first(table))
    assert measured(held, table) == 0
    first.forget(table)
    assert measured(Cache(tmp_path), table) == 5


def test_two_processes_may_write_to_one_folder_at_once(tmp_path):
    workers = [start(tmp_path, first, 3000) for first in (0, 1500)]
    for worker in workers:  # all have looked up, and found nothing
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        _, told = worker.communicate()
        assert worker.returncode == 0, told
    assert len(list(tmp_path.glob("*/*.values"))) == 2
    table = np.random.default_rng(0).normal(size=(3000, 3))
    rows = list(Remembered(None, Cache(tmp_path), "a", 2)(table))
    np.testing.assert_array_equal(rows, plain_rows(table))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_writes_to_a_file_of_its_own(tmp_path):
    c, cache = points(8), Cache(tmp_path)
    measured(cache, c[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking while torch has threads
        child = os.fork()
    if child == 0:
        try:
            os._exit(measured(cache, c))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert len(list(tmp_path.glob("*/*.values"))) == 2
    assert measured(cache, c) == 0


def test_threads_may_share_a_cache(cache):
    tables = [points(300, seed=i % 2) for i in range(6)]
    failures = []
    together = threading.Barrier(len(tables))

    def work(i):
        try:
            together.wait()
            for part in np.array_split(tables[i], 10):
                measured(cache, part, "ab"[i % 2])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(tables))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    lone = Cache()
    for i in range(2):
        assert measured(cache, tables[i], "ab"[i]) == 0
        measured(lone, tables[i], "ab"[i])
    assert cache.nbytes == lone.nbytes, "rows that two threads measured are counted once"
    if cache.path:
        assert sum(measured(Cache(cache.path), tables[i], "ab"[i]) for i in range(2)) == 0


# the argument


def test_what_the_argument_may_be(tmp_path, monkeypatch):
    own = Cache()
    assert resolve_cache(own) is own
    assert resolve_cache(False) is None
    assert resolve_cache(None) is resolve_cache(True)
    assert resolve_cache(None).path is None
    monkeypatch.chdir(tmp_path)
    assert resolve_cache("measured") is resolve_cache(tmp_path / "measured") is resolve_cache(Path("x/../measured"))
    assert resolve_cache("measured").path == tmp_path / "measured"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_cache("~/measured") is resolve_cache("measured")
    assert resolve_cache("other") is not resolve_cache("measured")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [5, 1.0, ["a"], object()])
def test_what_the_argument_may_not_be(wrong):
    with pytest.raises(TypeError, match=r"cache must be a folder, a Cache, None or False, got .*cache=\"measured\""):
        resolve_cache(wrong)


def test_it_tells_what_it_is(tmp_path):
    cache = Cache(tmp_path, budget=1 << 20)
    measured(cache, points(1000))
    assert repr(cache) == f"Cache(0.2 of 1.0 MiB in memory; memory and '{tmp_path}')"
    assert repr(Cache()) == "Cache(0.0 of 64.0 MiB in memory; memory)"
