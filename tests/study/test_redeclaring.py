"""A second function of one name: refused, but for the cell of a notebook that is run again."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from lwidgets import where
from lwidgets.study import Check, Part, Study


@pytest.fixture
def study(pictures):
    study = Study("cells")
    study.slider("x", 2, low=0, high=9)
    study.slider("y", 5, low=0, high=9)
    yield study
    study.close()


@pytest.fixture
def cell(monkeypatch):
    """Says which cell is running, and for the so manieth time."""

    def run(cell, number):
        parent = {"header": {"msg_id": str(number)}, "metadata": {"cellId": cell}}
        shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: parent), execution_count=number)
        monkeypatch.setattr(where, "_shell", lambda: shell)

    return run


@pytest.mark.parametrize("first", ["node", "view", "check", "oracle"])
@pytest.mark.parametrize("second", ["node", "view", "check", "oracle"])
def test_a_second_function_of_one_name_is_refused_wherever_it_stands(study, first, second):
    @getattr(study, first)
    def twice(x):
        """First."""

    with pytest.raises(ValueError, match=f"'twice' must be a new name, got a second {second} where there is a {first}"):

        @getattr(study, second)
        def twice(y):
            """Second."""

    assert study._graph.functions["twice"].takes == {"x": "x"}
    with pytest.raises(ValueError, match="'twice' must be a new name"):
        study.slider("twice", 1)


def declare(study, factor=1, takes="x"):
    made = {}
    exec(f"def value({takes}):\n    'Value.'\n    return {factor} * {takes}", made)
    study.node(made["value"])


def test_a_cell_that_is_run_again_replaces_what_it_declares(study, note, cell):
    cell("a", 1)
    declare(study)
    cell("b", 2)
    calls = []

    @study.node
    def after(value):
        calls.append(value)
        return -value

    @study.node
    def beside(y):
        calls.append("beside")
        return y

    @study.view
    def shown(after):
        return note(after)

    @study.check
    def right(after):
        """After"""
        return Check.that(True, f"{after}")

    assert study.verify(10).checks["After"].detail == "-2"
    calls.clear()
    cell("a", 3)
    declare(study, factor=10)
    assert study.wait(10)  # what is on show is made anew
    assert study.pictures["shown"].values == (-20,)
    assert study.checks["After"].detail == "-20"
    assert calls == [20]
    cell("a", 4)
    declare(study, factor=10, takes="y")
    assert study.wait(10)
    assert study.pictures["shown"].values == (-50,)
    study.set(y=1)
    assert study.wait(10)
    assert study.pictures["shown"].values == (-10,)
    assert list(study._graph.functions) == ["value", "after", "beside", "shown", "right"]
    with pytest.raises(ValueError, match=r"'value' must be a new name, .*, or run the cell again that declares it"):
        declare(study)  # in the same run
    cell("c", 5)
    with pytest.raises(ValueError, match="'value' must be a new name"):
        declare(study)


def test_a_node_may_come_to_take_a_later_one_but_not_what_depends_on_it(study, cell):
    cell("a", 1)
    declare(study)
    cell("b", 1)

    @study.node
    def later(y):
        return y

    @study.node
    def after(value):
        return value

    cell("a", 2)
    with pytest.raises(ValueError, match=r"arguments of value must name .*, got 'after', which depends on it"):
        declare(study, takes="after")
    assert study._graph.functions["value"].takes == {"x": "x"}
    declare(study, takes="later")
    assert list(study._graph.functions) == ["later", "value", "after"]
    assert study.verify(10)
    assert (study["value"], study["after"]) == (5, 5)


def test_another_role_is_another_thing(study, cell):
    cell("a", 1)
    declare(study)
    cell("a", 2)
    with pytest.raises(ValueError, match="got a second view where there is a node"):

        @study.view
        def value(x):
            return None


def test_sliders_givens_sources_and_parts_of_a_cell_that_is_run_again(study, cell):
    part = Part("part", ports=("x",))

    @part.node
    def inside(x):
        return x

    def declare_all(high, given):
        study.slider("z", 1, low=0, high=high)
        study.given("constant", given)
        study.source("data", given)
        study.add(part, prefix="a ")

    cell("a", 1)
    declare_all(5, 1)
    cell("b", 1)

    @study.node
    def taking(z, constant, data, a_inside):
        return z, constant, data, a_inside

    assert study.verify(10)
    assert study["taking"] == (1, 1, 1, 2)
    cell("a", 2)
    declare_all(8, 2)
    assert study.wait(10)
    assert study["taking"] == (1, 2, 2, 2)
    study.set(z=8)
    assert study.wait(10)
    assert study["taking"] == (8, 2, 2, 2)


def test_a_node_that_is_replaced_while_it_runs_is_given_up(study, cell, steps):
    cell("a", 1)
    ended = []

    @study.node
    def value(x, progress):
        steps()
        progress(1, 2)
        ended.append("old")

    study.start()
    steps.arrive()
    cell("a", 2)
    declare(study)
    steps.run()
    assert study.wait(10)
    assert study["value"] == 2
    assert ended == []


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("/tmp/ipykernel_7/123.py", "/tmp/ipykernel_7/123.py", True),
        ("/tmp/ipykernel_7/123.py", "/tmp/ipykernel_7/124.py", False),
        ("<ipython-input-4-abc>", "<ipython-input-9-abc>", True),
        ("<ipython-input-4-abc>", "<ipython-input-9-abd>", False),
    ],
)
def test_where_no_front_end_tells_cells_apart_their_code_does(monkeypatch, before, after, same):
    shell = SimpleNamespace(execution_count=4)
    monkeypatch.setattr(where, "_shell", lambda: shell)
    first = where.run_that_declares(before)
    assert not where.run_that_declares(before).repeats(first)
    shell.execution_count = 9
    assert where.run_that_declares(after).repeats(first) == same


def test_in_a_script_there_are_no_cells():
    script = "from lwidgets import where; print(where.run_that_declares('a.py'))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "None\n"


def test_ipython_itself(pictures):
    """A real shell, without a front end: the same input again replaces, another is refused."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        study = Study("shell")
        study.slider("x", 2)
        shell.push({"study": study})
        code = "@study.node\ndef value(x):\n    return x"
        for _ in range(2):
            assert shell.run_cell(code, store_history=True).success
        assert study.verify(10)
        assert study["value"] == 2
        result = shell.run_cell(code + " + 1", store_history=True)
        assert "'value' must be a new name" in str(result.error_in_exec)
        study.close()
    finally:
        InteractiveShell.clear_instance()
