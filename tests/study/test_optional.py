"""Views whose arguments have defaults: they do without until it is there."""

import threading
import time

from lwidgets.pictures import Words
from lwidgets.study import Study


def test_a_view_does_without_what_has_a_default():
    """It is made at once without, again when it is there, and is never older than the rest of it."""
    go = threading.Event()
    study = Study("Optional")
    study.slider("n", 1, low=1, high=9)

    @study.node
    def polished(n):
        go.wait(10)
        yield 10 * n

    @study.view
    def told(n, polished=None):
        return Words(f"{n} {polished}")

    seen = []
    study.watch(lambda _, view: seen.append(study.pictures["told"].text))
    study.start()
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == ["1 None"]
    go.set()
    assert study.wait(10)
    assert seen[-1] == "1 10"
    go.clear()
    study.set(n=2)
    while len(seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen[2] == "2 None"
    go.set()
    assert study.wait(10)
    assert study.pictures["told"].text == "2 20"
    study.close()
