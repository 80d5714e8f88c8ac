"""LatestWins: the newest request wins, stale work stops, waiting means what it says, leisure gives way."""

import queue
import threading
import time

from lwidgets.study.latest import LatestWins, Stopped


def make(steps, seen, polls=3):
    """A worker that polls so many times a job, each time when told to, and records which values it finished."""

    def work():
        values = worker.take()
        for _ in range(polls):
            if worker.poll():
                return
        seen.append(dict(values))

    worker = LatestWins(work, "test", pace=steps)
    return worker


def test_of_a_burst_of_requests_only_the_last_is_finished(steps):
    seen = []
    worker = make(steps, seen)
    worker.request({"i": 0})
    steps.arrive()
    for i in range(1, 20):
        worker.request({"i": i})
        steps.go()  # hears of it, and stands before the first poll of the next job
    steps.run()
    assert worker.wait(10)
    assert seen == [{"i": 19}]
    worker.close()


def test_request_returns_at_once_and_wait_blocks_until_idle(steps):
    seen = []
    worker = make(steps, seen)
    worker.request({"i": 1})
    steps.arrive()
    assert seen == []
    assert not worker.wait(0.01)
    assert not worker.wait(0)
    steps.run()
    assert worker.wait(10)
    assert seen == [{"i": 1}]
    worker.close()


def test_stop_ends_the_job_within_a_step_and_the_next_request_runs(steps):
    seen = []
    worker = make(steps, seen)
    worker.request({"i": 1})
    steps.arrive()
    worker.stop()
    steps.run()
    assert worker.wait(5)
    assert seen == []
    worker.request({"i": 2})
    assert worker.wait(5)
    assert seen == [{"i": 2}]
    worker.close()


def test_stopping_an_idle_worker_does_not_stop_the_next_job(steps):
    seen = []
    worker = make(steps, seen)
    steps.run()
    worker.stop()
    worker.request({"i": 1})
    assert worker.wait(5)
    assert seen == [{"i": 1}]
    worker.close()


def test_close_ends_the_thread_and_is_repeatable(steps):
    worker = make(steps, [], polls=1_000_000_000)
    worker.request({})
    steps.arrive()
    worker.close()
    worker.close()
    assert worker.closed
    assert worker.wait(0)
    steps.run()
    assert worker.join(5)
    assert "test" not in {thread.name for thread in threading.enumerate()}
    worker.request({"late": 1})  # ignored
    assert worker.wait(0)


def test_a_worker_that_rests_hears_of_news_nudges_waiting_and_stops(steps):
    told = queue.SimpleQueue()

    def work():
        worker.take()
        for _ in range(3):
            told.put(worker.rest())
        worker.rest()

    worker = LatestWins(work, "resting")
    worker.request({})
    worker.nudge()
    assert told.get(timeout=10) is False
    waiting = threading.Thread(target=worker.wait, args=(20,))
    assert not worker.awaited
    waiting.start()
    assert told.get(timeout=10) is False
    assert worker.awaited
    worker.request({"i": 1})
    assert told.get(timeout=10) is True
    worker.stop()
    waiting.join(10)
    assert not waiting.is_alive()
    worker.close()


def test_join_waits_for_what_runs_beside():
    go = threading.Event()
    worker = LatestWins(lambda: worker.take(), "helped")
    worker.request({})
    thread = worker.beside(lambda: go.wait(20))
    worker.close()
    assert not worker.join(0.01)
    go.set()
    assert worker.join(10)
    assert not thread.is_alive()


def test_stopped_is_not_an_exception_so_handlers_of_errors_let_it_pass():
    assert not issubclass(Stopped, Exception)


def test_a_thread_that_nobody_needs_ends_and_the_next_request_starts_another(steps, monkeypatch):
    monkeypatch.setattr("lwidgets.study.latest._PATIENCE", 0.02)
    seen = []
    worker = make(steps, seen)
    steps.run()
    for i in range(3):
        worker.request({"i": i})
        assert worker.wait(5)
        thread = worker._thread
        if thread is not None:
            thread.join(10)
        assert worker._thread is None
    assert seen == [{"i": 0}, {"i": 1}, {"i": 2}]


def endless_leisure(done):
    """A worker that has nothing to do and never finishes its leisure; tells when it begins and how it ends."""
    told = queue.SimpleQueue()

    def leisure():
        told.put("begun")
        try:
            while not worker.poll():
                time.sleep(0.001)
        except Stopped:
            told.put("stopped")
            raise
        told.put("news")

    worker = LatestWins(lambda: done.append(worker.take()), "leisurely", leisure)
    return worker, told


def test_leisure_begins_when_the_work_is_done_and_nobody_waits_for_it():
    done = []
    worker, told = endless_leisure(done)
    assert told.empty()
    worker.request({"i": 1})
    assert told.get(timeout=10) == "begun"
    assert worker.wait(0)
    assert done == [{"i": 1}]
    worker.close()


def test_news_ends_leisure_and_is_dealt_with():
    done = []
    worker, told = endless_leisure(done)
    worker.request({"i": 1})
    assert told.get(timeout=10) == "begun"
    worker.request({"i": 2})
    assert told.get(timeout=10) == "news"
    assert told.get(timeout=10) == "begun"
    assert done == [{"i": 1}, {"i": 2}]
    worker.close()


def test_stop_ends_leisure_and_not_the_next_job():
    done = []
    worker, told = endless_leisure(done)
    for i in (1, 2):
        worker.request({"i": i})
        assert told.get(timeout=10) == "begun"
        worker.stop()
        assert told.get(timeout=10) == "stopped"
    assert done == [{"i": 1}, {"i": 2}]
    worker.close()


def test_close_ends_leisure_and_the_thread():
    worker, told = endless_leisure([])
    worker.request({})
    assert told.get(timeout=10) == "begun"
    worker.close()
    assert told.get(timeout=10) == "stopped"
    assert worker.join(5)
    assert "leisurely" not in {thread.name for thread in threading.enumerate()}


def test_there_is_no_leisure_after_a_stop():
    begun = threading.Event()
    leisure = []

    def work():
        worker.take()
        begun.set()
        while not worker.poll():
            time.sleep(0.001)

    worker = LatestWins(work, "stopped", lambda: leisure.append(1))
    worker.request({})
    assert begun.wait(10)
    worker.stop()
    assert worker.wait(10)
    worker.close()
    assert leisure == []


def test_there_is_no_leisure_while_news_waits():
    done, leisure = [], queue.SimpleQueue()

    def work():
        done.append(worker.take())
        if len(done) == 1:
            worker.request({"i": 2})

    worker = LatestWins(work, "busy", lambda: leisure.put(list(done)))
    worker.request({"i": 1})
    assert leisure.get(timeout=10) == [{"i": 1}, {"i": 2}]
    worker.close()
    assert leisure.empty()
