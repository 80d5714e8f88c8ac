"""Views: arguments that have defaults are not waited for, and a docstring is a caption."""

import threading
import time

from lwidgets.pictures import Curves, Rule, Series, Words
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


def test_what_a_view_says_of_itself_is_the_caption_of_a_picture_without_one():
    study = Study("Captions")

    @study.view
    def silent():
        """How the loss falls."""
        return Curves([Series([0, 1], [1, 0])])

    @study.view
    def spoken():
        """Something else."""
        return Curves([Series([0, 1], [1, 0])], caption="as it says")

    @study.view(on="silent")
    def cursor():
        """Where we are."""
        return Curves([Rule(x=0.5)])

    @study.view
    def bare():
        return Curves([Series([0, 1], [1, 0])])

    assert study.verify(30)
    assert [study.pictures[name].caption for name in ("silent", "spoken", "bare")] == [
        "How the loss falls",
        "as it says",
        "",
    ]
    study.close()
