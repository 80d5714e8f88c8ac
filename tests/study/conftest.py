"""A small kind of picture, and what drives a study step by step."""

import queue
import threading
from dataclasses import dataclass

import pytest

from lwidgets.check import Check
from lwidgets.pictures import KINDS, Picture, register


@dataclass(frozen=True)
class Note(Picture):
    """Some values, and whether they are claimed to be even."""

    kind = "note"
    values: tuple = ()
    claims_even: bool = False

    def over(self, base):
        if "stubborn" in self.values:
            raise ValueError("does not lie on anything")
        return Note(base.values + self.values)

    def judge(self):
        return Check.that(all(v % 2 == 0 for v in self.values), f"{self.values}") if self.claims_even else None


@dataclass(frozen=True)
class Other(Picture):
    kind = "other"


@pytest.fixture
def pictures():
    """Note and Other, known while the test runs."""
    register(Note)
    register(Other)
    yield Note, Other
    del KINDS["note"], KINDS["other"]


@pytest.fixture
def note(pictures):
    return lambda *values, **more: Note(values, **more)


class Steps:
    """Lets something take so many steps, and blocks it at the next."""

    def __init__(self):
        self._permits = threading.Semaphore(0)
        self._arrived = queue.SimpleQueue()
        self._open = False

    def __call__(self):
        if not self._open:
            self._arrived.put(None)
            assert self._permits.acquire(timeout=20)

    def arrive(self):
        """Block until a step is about to be taken."""
        self._arrived.get(timeout=20)

    def go(self, count=1):
        """Take so many, and stand before the next."""
        for _ in range(count):
            self._permits.release()
            self.arrive()

    def run(self):
        """Take all."""
        self._open = True
        self._permits.release(10_000)


@pytest.fixture
def steps():
    made = Steps()
    yield made
    made.run()


@pytest.fixture
def watched():
    """Start a study with somebody looking."""

    def start(study):
        study.watch(lambda *_: None)
        study.start()
        return study

    return start


@pytest.fixture(autouse=True)
def nothing_is_heavy(monkeypatch):
    """On a busy machine anything may take long; tests of what does say so."""
    monkeypatch.setattr("lwidgets.study.worker._HEAVY", 60.0)
