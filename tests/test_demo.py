"""The digits of every first example: trained, repeatable, and gentle with global state."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.demo.data import _KEPT, _TRAINED, remembered


def test_digits_are_two_trained_models_and_their_objective():
    state = torch.get_rng_state()
    objective, a, b = lw.demo.digits(hidden=(32,), steps=120)
    assert torch.equal(state, torch.get_rng_state())
    images, labels = objective.data.batches[0]
    assert (len(images), len(objective.test.data)) == (1438, 359)
    with torch.no_grad():
        assert objective.measure(a)["loss"] == F.cross_entropy(a(images), labels).item()
    assert objective.measure(a)["error"] < 0.2
    assert objective.test.measure(b)["error"] < 0.25
    line = lw.sample(objective, lw.Line(a, b), resolution=17)
    assert line.barrier().value > 0.1  # independent seeds are not linearly connected


def test_digits_depend_on_the_seeds_alone():
    def trained(seeds):
        _TRAINED.clear()
        return lw.demo.digits(seeds, hidden=(8,), steps=3)[1]

    first, second, third = map(trained, ((4, 1), (4, 2), (5, 1)))
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first[0].weight, third[0].weight)


def test_nothing_held_out_leaves_no_test_objective():
    objective, _, _ = lw.demo.digits(hidden=(4,), steps=1, held_out=0)
    assert objective.test is None
    assert len(objective.data) == 1797


def test_digits_data_are_scaled_images_in_model_dtypes():
    images, labels = lw.demo.digits_data()
    assert images.shape == (1797, 64)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert (images.min().item(), images.max().item()) == (0.0, 1.0)
    assert np.bincount(labels).min() > 150


def test_digits_tasks_are_halves_of_the_digits_and_models_that_know_theirs():
    state = torch.get_rng_state()
    base, models, tasks = lw.demo.digits_tasks(hidden=(32,))
    assert torch.equal(state, torch.get_rng_state())
    assert list(tasks) == ["digits 0 to 4", "digits 5 to 9"]
    assert sum(len(task.data) + len(task.test.data) for task in tasks.values()) == 1797
    for i, (first, task) in enumerate(zip((0, 5), tasks.values(), strict=True)):
        for data in (task.data, task.test.data):
            assert set(data.batches[0][1].tolist()) == set(range(first, first + 5))
        errors = [task.test.measure(model)["error"] for model in (models[i], base, models[1 - i])]
        assert errors[0] < errors[1] < errors[2]
    assert len(base.state_dict()) == 4


def test_no_held_out_digits_leave_no_test_task():
    _, _, tasks = lw.demo.digits_tasks(hidden=(4,), steps=1, held_out=0)
    assert all(task.test is None for task in tasks.values())
    assert sum(len(task.data) for task in tasks.values()) == 1797


def test_who_asks_again_is_given_copies_of_what_was_trained_once(monkeypatch):
    _TRAINED.clear()
    _, a, b = lw.demo.digits(hidden=(8,), steps=3)
    base, models, _ = lw.demo.digits_tasks(hidden=(8,), steps=3)
    kept = [{k: v.clone() for k, v in m.state_dict().items()} for m in (a, b, base, *models)]
    with torch.no_grad():
        for model in (a, b, base, *models):
            model[0].weight.zero_()
    monkeypatch.setattr(torch.optim, "Adam", None)  # whoever trains again fails
    objective, a, b = lw.demo.digits(hidden=[8], steps=3)
    base, models, tasks = lw.demo.digits_tasks(hidden=(8,), steps=3)
    for model, state in zip((a, b, base, *models), kept, strict=True):
        assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert objective.module is a
    assert [task.module for task in tasks.values()] == list(models)
    for other in ({"hidden": (9,)}, {"steps": 4}, {"held_out": 0.3}, {"seeds": (2, 1)}):
        with pytest.raises(TypeError, match="not callable"):
            lw.demo.digits(**{"hidden": (8,), "steps": 3} | other)


def test_the_newest_are_remembered_and_defaults_of_torch_tell_apart():
    _TRAINED.clear()
    seen = []
    for i in range(_KEPT + 1):
        remembered(lambda i=i: seen.append(i) or [i], "test", i)
    remembered(lambda: seen.append("again") or [0], "test", _KEPT)
    assert seen == list(range(_KEPT + 1))
    remembered(lambda: seen.append("first") or [0], "test", 0)  # the oldest has made room
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        remembered(lambda: seen.append("double") or [0], "test", _KEPT)
    finally:
        torch.set_default_dtype(before)
    assert seen[-2:] == ["first", "double"]
    _TRAINED.clear()
