"""How many threads torch computes with belongs to the thread that says so."""

import threading

import pytest
import torch

import lwidgets as lw
from lwidgets.sampling import threads
from lwidgets.sampling.threads import thread_counts, using_threads


def seen_by_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_only_this_thread_computes_with_another_number(count):
    with using_threads(count):
        assert torch.get_num_threads() == count
        assert seen_by_a_new_thread() == 4
    assert torch.get_num_threads() == 4
    with pytest.raises(KeyError), using_threads(1):
        raise KeyError
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_threads_born_beside_an_explorer_begin_with_the_users_number():
    objective, _, _ = lw.demo.digits(hidden=(16,), steps=2)
    explorer = lw.SurfaceExplorer(objective, resolution=17, tolerance=0.0)
    seen = set()
    try:
        while not explorer.wait(0.005):
            seen.add(seen_by_a_new_thread())
    finally:
        explorer.close()
    assert seen | {seen_by_a_new_thread()} == {4}


@pytest.mark.usefixtures("four_threads")
def test_the_present_number_comes_first(monkeypatch):
    assert thread_counts() == [4, 2, 1]
    monkeypatch.setattr(threads, "_setters", lambda: ())
    assert thread_counts() == [4], "where it cannot be set for one thread, it is left alone"
    with using_threads(1):
        assert torch.get_num_threads() == 4
