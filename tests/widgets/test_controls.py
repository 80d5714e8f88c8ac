"""Controls that ipywidgets does not have."""

import pytest

import lwidgets as lw
from lwidgets.study.sliders import Slider
from lwidgets.widgets.controls import control_for


@pytest.fixture
def bank():
    made = control_for(Slider("mix", (0.0, 0.5, 1.0), low=0.0, high=1.0, step=0.01, parts=("fc1", "fc2", "fc3")))
    yield made
    made.close()


def values(bank):
    return [child.value for child in bank.children]


def test_a_bank_has_a_slider_for_each_part_and_one_for_all(bank):
    assert [child.description for child in bank.children] == ["mix", "fc1", "fc2", "fc3"]
    assert values(bank) == [0.5, 0.0, 0.5, 1.0]


def test_one_part_moves_alone(bank):
    seen = []
    bank.observe(lambda change: seen.append(change["new"]), "value")
    bank.children[1].value = 0.3
    assert seen == [(0.3, 0.5, 1.0)]
    assert values(bank) == pytest.approx([0.6, 0.3, 0.5, 1.0])


def test_the_first_moves_all_at_once(bank):
    seen = []
    bank.observe(lambda change: seen.append(change["new"]), "value")
    bank.children[0].value = 0.25
    assert seen == [(0.25, 0.25, 0.25)]
    assert values(bank) == [0.25] * 4


def test_what_code_sets_is_shown(bank):
    bank.value = (1.0, 1.0, 0.0)
    assert values(bank) == pytest.approx([0.67, 1.0, 1.0, 0.0])


def test_a_study_has_it_as_one_slider():
    study = lw.Study("Mixture")
    study.slider("mix", (0.0, 0.0), low=0.0, high=1.0, step=0.01, parts=("first", "second"))

    @study.node
    def told(mix):
        return mix

    widget = lw.StudyWidget(study)
    assert widget.wait(10)
    widget.controls["mix"].children[2].value = 0.5
    assert widget.wait(10)
    assert widget.mix == (0.0, 0.5)
    widget.mix = (1.0, 0.25)
    assert widget.wait(10)
    assert values(widget.controls["mix"]) == pytest.approx([0.62, 1.0, 0.25])
    assert study["told"] == (1.0, 0.25)
    widget.close()


def test_a_control_that_rounds_moves_nothing(bank):
    """Browsers show a value at the nearest step of a slider, and tell the kernel so."""
    bank.value = (1 / 3, 0.5, 1.0)
    bank.children[1].value = 0.33
    assert bank.value == (1 / 3, 0.5, 1.0)
    bank.children[2].value = 0.51
    assert bank.value == (1 / 3, 0.51, 1.0)
    bank.children[1].value = 0.34
    assert bank.value == (0.34, 0.51, 1.0)

    study = lw.Study("Thirds")
    study.slider("third", 1 / 3, low=0.0, high=1.0, step=0.01)
    study.slider("count", 20, low=9, high=129, step=8)
    study.slider("pair", (1 / 3, 2 / 3), low=0.0, high=1.0, step=0.01)
    widget = lw.StudyWidget(study)
    for name, rounded, moved in (("third", 0.33, 0.34), ("count", 17, 25), ("pair", (0.33, 0.67), (0.33, 0.68))):
        before = study.values[name]
        widget.controls[name].value = rounded
        assert study.values[name] == before
        widget.controls[name].value = moved
        assert study.values[name] == moved
    widget.close()
