"""Many threads at once: whatever happens in between, what is there in the end is right."""

import random
import threading
import time

from lwidgets.study import Study


def test_sliders_pushes_declarations_and_reads_at_once(pictures, note):
    study = Study("races")
    study.slider("x", 0, low=0, high=999)
    study.source("data", 0)
    errors, stop = [], threading.Event()

    @study.node
    def stream(x, data, progress):
        for i in range(3):
            progress(i, 3)
            yield None
        yield x, data

    @study.node(slow=True)
    def slow(x, data, progress):
        for i in range(3):
            progress(i, 3)
            time.sleep(0.0005)
        return x, data

    @study.node
    def plain(x, progress):
        progress(0, 1)
        return x

    @study.view
    def base(stream):
        return note(stream)

    @study.view(on="base")
    def layer(slow):
        return note(slow)

    def loop(act):
        def run():
            chance = random.Random(0)
            try:
                while not stop.is_set():
                    act(chance)
                    time.sleep(chance.random() * 0.003)
            except BaseException as error:
                errors.append(error)

        return threading.Thread(target=run)

    def declare(chance):
        n = len(study.panels)
        if n < 40:
            made = {}
            exec(f"def view_{n}(plain): return None", made)
            study.view(made[f"view_{n}"])

    study.watch(lambda study, view: study.pictures)
    threads = [
        loop(lambda chance: study.set(x=chance.randrange(1000))),
        loop(lambda chance: study.push(data=chance.randrange(1000))),
        loop(lambda chance: (study.pictures, study.layers, study.panels, study.checks, study.is_current("slow"))),
        loop(declare),
        loop(lambda chance: study.stop() if chance.random() < 0.1 else study.wait(0.001)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert errors == []
    for x in (3, 4):
        study.set(x=x)
        study.push(data=-x)
        assert study.wait(20)
        assert study.status.phase == "done"
        assert study["stream"] == study["slow"] == (x, -x)
        assert study["plain"] == x
        assert study.pictures["base"].values == ((x, -x), (x, -x))
    study.close()
    assert study._work.latest.join(10)
