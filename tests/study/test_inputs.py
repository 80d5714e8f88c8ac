"""Givens, sources and parts: what comes from elsewhere."""

import threading

import pytest

from lwidgets.study import Check, Part, Study


@pytest.fixture
def study():
    study = Study("inputs")
    study.slider("x", 1, low=0, high=9)
    yield study
    study.close()


class Incomparable:
    def __eq__(self, other):
        raise RuntimeError("never compare me")

    __hash__ = None


def test_a_given_is_taken_by_name_and_is_no_control(study):
    model, calls = Incomparable(), []
    study.given("model", model)

    @study.node
    def value(model, x):
        calls.append(x)
        return model, x

    for x in (1, 2, 1):
        study.set(x=x)
        assert study.wait(10)
    assert study["value"][0] is model
    assert study["model"] is model
    assert calls == [1, 2]
    assert list(study.sliders) == list(study.values) == ["x"]
    with pytest.raises(KeyError):
        study.set(model=3)
    with pytest.raises(ValueError, match="'model' must be a new name, got a second given"):
        study.given("model", 4)


def test_what_is_pushed_reaches_what_takes_it_and_nothing_else(study):
    study.source("weights")
    calls = []

    @study.node
    def loss(weights, x):
        calls.append(("loss", weights, x))
        return weights

    @study.node
    def other(x):
        calls.append(("other", x))

    study.start()
    assert study.wait(10)
    assert (study["weights"], study["loss"]) == (None, None)
    calls.clear()
    for value in (Incomparable(), Incomparable()):
        study.push(weights=value)
        assert not study.is_current("loss")
        assert study.wait(10)
        assert study["loss"] is value
    study.set(x=2)
    study.set(x=1)
    assert study.wait(10)
    assert [call[0] for call in calls[:2]] == ["loss", "loss"]
    assert study.values == {"x": 1}
    with pytest.raises(KeyError, match="must be one of the sources, weights, got 'weihgts'"):
        study.push(weihgts=1)


def test_an_old_push_is_never_served_from_memory(study):
    study.source("data", 0)

    @study.node(keep=64)
    def value(data, x):
        return data[0] if data else None, x

    for pushed in range(5):
        study.push(data=[pushed])
        for x in (1, 2, 1):
            study.set(x=x)
            assert study.wait(10)
            assert study["value"] == (pushed, x)
    assert len(study._work._memo[study._graph.functions["value"]]) == 2


def test_a_push_returns_at_once_from_any_thread_and_the_newest_wins(study, steps):
    study.source("data", 0)
    done = []

    @study.node
    def value(data, progress):
        for i in range(2):
            steps()
            progress(i, 2)
        done.append(data)
        return data

    study.start()
    steps.arrive()
    threads = [threading.Thread(target=study.push, kwargs={"data": i}) for i in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    study.push(data=9)
    steps.run()
    assert study.wait(10)
    assert done == [9]
    study.close()
    study.push(data=10)  # a training loop does not end because a picture was closed


def test_nothing_is_computed_ahead_with_a_pushed_value_that_is_old(study, watched):
    study.source("data", 0)
    begun, go, computed = threading.Event(), threading.Event(), []

    @study.node
    def first(data, x):
        if (data, x) == (0, 3):  # ahead of x = 2
            begun.set()
            assert go.wait(10)
        return data

    @study.node
    def second(first, x):
        computed.append((first, x))
        return first, x

    watched(study)
    assert study.wait(10)
    study.set(x=2)
    assert begun.wait(10)
    study.push(data=1)
    go.set()
    assert study.wait(10)
    assert study["second"] == (1, 2)
    assert (0, 3) not in computed
    study.set(x=3)
    assert study.wait(10)
    assert study["second"] == (1, 3)


def scaled():
    part = Part("Scaled", ports=("height",))
    part.slider("mode", True, help="Whether it is scaled")
    part.slider("ends", (0.0, 5.0), low=0.0, high=9.0)
    part.slider("factor", 2.0, low=0.0, high=5.0, when={"mode": (True,)}, bounds="ends")
    part.given("offset", 100)
    part.source("pushed", 0)

    @part.node
    def product(height, factor, offset, pushed):
        return height * factor + offset + pushed

    @part.check(value="product")
    def is_large(value):
        """It is large"""
        return Check.that(value > 100, f"{value}")

    @part.oracle(tol=1e-9)
    def known(product, height, factor, pushed):
        """It is known"""
        return product, height * factor + 100 + pushed

    return part


def test_two_of_one_part_work_side_by_side(study, pictures, note):
    part = scaled()

    @part.view
    def shown(product):
        """The product"""
        return note(product)

    @part.view(on="shown")
    def mark(factor):
        return note(factor)

    @study.node
    def height(x):
        return 10 * x

    @study.node
    def depth(x):
        return -x

    names = study.add(part, prefix="first ")
    assert (names["product"], names["factor"]) == ("first_product", "first_factor")
    study.add(part, prefix="second ", uses={"height": "depth"})
    assert study.sliders["second_factor"].title == "second factor"
    assert study.sliders["second_factor"].when == {"second_mode": (True,)}
    assert study.sliders["second_factor"].bounds == "second_ends"
    assert [(p.name, p.title, p.layers) for p in study.panels] == [
        ("first_shown", "first The product", ("first_shown", "first_mark")),
        ("second_shown", "second The product", ("second_shown", "second_mark")),
    ]
    study.set(first_factor=3.0)
    study.push(second_pushed=5)
    report = study.verify(10)
    assert (study["first_product"], study["second_product"]) == (130.0, 103.0)
    assert study.pictures["first_shown"].values == (130.0, 3.0)
    assert {name: check.state for name, check in report.checks.items()} == {
        "first It is large": "pass",
        "first It is known": "pass",
        "second It is large": "pass",
        "second It is known": "pass",
    }


def test_ports_and_names_that_do_not_fit_are_refused_with_what_is_known(study):
    part = scaled()
    with pytest.raises(ValueError, match=r"'Scaled' needs 'height' for its port 'height', .* Known are x\. .*uses="):
        study.add(part)
    with pytest.raises(ValueError, match=r"uses must name ports of 'Scaled', got 'hight'\. Ports are height"):
        study.add(part, uses={"hight": "x"})
    with pytest.raises(ValueError, match="prefix must make identifiers, got '1st '"):
        study.add(part, prefix="1st ", uses={"height": "x"})
    assert list(study.sliders) == ["x"]
    study.add(part, uses={"height": "x"})
    with pytest.raises(ValueError, match="'mode' must be a new name"):
        study.add(part, uses={"height": "x"})
    with pytest.raises(ValueError, match="Part: ports must be different identifiers"):
        Part("p", ports=("a", "a"))
    with pytest.raises(ValueError, match=r"Part 'Scaled': late must take ports .*, got 'x'\. Known are height, mode"):

        @part.node
        def late(x):
            return x

    with pytest.raises(ValueError, match="'product' must be a new name, and not a port's"):

        @part.node
        def product(height):
            return height


def test_a_part_that_collides_leaves_the_study_as_it_was(study):
    study.given("product", 1)
    with pytest.raises(ValueError, match="'product' must be a new name"):
        study.add(scaled(), uses={"height": "x"})
    assert list(study.sliders) == ["x"]
