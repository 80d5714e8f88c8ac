"""Distances against their definitions with whole Gram matrices, and their invariances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import lwidgets as lw
from lwidgets import distances
from lwidgets.distances import angular_cka, between, cka, disagreement, l2, l2_by_parameter, softmax_distance
from tests.models import CASES, CNN, MLP, TRANSFORMER, everything_about, flat, named, same


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(x, y, unbiased):
    """HSIC from N x N matrices, the centring matrix or the sums of Song et al., eq. 5."""
    n = len(x)

    def hsic(k, m):
        if not unbiased:
            h = torch.eye(n, dtype=torch.float64) - 1 / n
            return float(torch.trace(k @ h @ m @ h))
        k, m = (gram - gram.diagonal().diag() for gram in (k, m))
        one = torch.ones(n, dtype=torch.float64)
        both = one @ k @ one * (one @ m @ one)
        return float(torch.trace(k @ m) + both / (n - 1) / (n - 2) - 2 / (n - 2) * (one @ k @ m @ one))

    grams = [f.flatten(1) @ f.flatten(1).T for f in (x, y)]
    return hsic(*grams) / math.sqrt(hsic(grams[0], grams[0]) * hsic(grams[1], grams[1]))


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("n", "p", "q"), [(12, 3, 5), (7, 20, 4), (9, 30, 40), (6, 1, 6), (5, 5, 5)])
def test_cka_is_its_definition_for_few_and_for_many_features(n, p, q, unbiased):
    x, y = random(n, p), random(n, q, seed=1) + 0.3 * random(n, 1, seed=2) + 5
    assert cka(x, y, unbiased=unbiased) == pytest.approx(by_hand(x, y, unbiased), rel=1e-9)


@given(st.integers(0, 50), st.floats(0.1, 10), st.booleans())
def test_cka_is_blind_to_rotation_scale_and_shift(seed, scale, unbiased):
    x, y = random(11, 4, seed=seed), random(11, 6, seed=seed + 1)
    q = torch.linalg.qr(random(4, 4, seed=seed + 2)).Q
    assert cka(x, scale * x @ q + 3, unbiased=unbiased) == pytest.approx(1)
    assert angular_cka(x, scale * x @ q + 3, unbiased=unbiased) == pytest.approx(0, abs=1e-6)
    assert cka(x @ q, y, unbiased=unbiased) == pytest.approx(cka(x, y, unbiased=unbiased), rel=1e-9)
    assert cka(x, y, unbiased=unbiased) == pytest.approx(cka(y, x, unbiased=unbiased), rel=1e-9)
    if not unbiased:
        assert 0 <= cka(x, y) <= 1
    assert 0 <= angular_cka(x, y, unbiased=unbiased) <= math.pi / 2


def test_unrelated_features_are_alike_only_where_cka_is_biased():
    x, y = random(40, 200), random(40, 200, seed=1)
    assert cka(x, y) > 0.5
    assert abs(cka(x, y, unbiased=True)) < 0.1
    assert angular_cka(x, x) == pytest.approx(0, abs=1e-6)
    assert math.isnan(cka(x, torch.ones(40, 3)))
    assert math.isnan(angular_cka(x, torch.ones(40, 3)))


def test_features_of_other_examples_are_refused():
    with pytest.raises(ValueError, match=r"features of the same 2 examples or more, got 3 and 4"):
        cka(random(3, 2), random(4, 2))
    with pytest.raises(ValueError, match=r"the same 4 examples or more, got 3 and 3"):
        cka(random(3, 2), random(3, 2), unbiased=True)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_l2_is_the_norm_of_the_flat_difference(case):
    a, b = (case.model(seed, torch.float64) for seed in range(2))
    assert l2(a, b) == pytest.approx(np.linalg.norm(flat(named(a)) - flat(named(b))), rel=1e-12)
    found = l2_by_parameter(a, b)
    assert list(found) == list(named(a))
    for name, value in found.items():
        assert value == pytest.approx(float((named(a)[name] - named(b)[name]).norm()), rel=1e-12)
    assert l2(a, a) == 0


def test_predictions_are_compared_by_class_and_by_probability():
    x, y = random(30, 5), random(30, 5, seed=1)
    assert disagreement(x, y) == np.mean([int(p.argmax()) != int(q.argmax()) for p, q in zip(x, y, strict=True)])
    expected = np.mean([float((p.softmax(0) - q.softmax(0)).norm()) for p, q in zip(x, y, strict=True)])
    assert softmax_distance(x, y) == pytest.approx(expected, rel=1e-12)
    words, other = random(4, 6, 5), random(4, 6, 5, seed=1)
    assert softmax_distance(words.transpose(1, 2), other.transpose(1, 2)) == pytest.approx(
        softmax_distance(words, other, classes=2)
    )
    assert disagreement(words, other, classes=2) == disagreement(words.flatten(0, 1), other.flatten(0, 1))
    assert softmax_distance(words, other, classes=2) == pytest.approx(
        softmax_distance(words.flatten(0, 1), other.flatten(0, 1))
    )


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_all_distances_of_two_models_are_those_of_the_modules_called_by_hand(case):
    a, b = (case.model(seed, torch.float64) for seed in range(2))
    objective = lw.Objective(case.model(2, torch.float64), case.samples(torch.float64), loss=case.loss)
    before = everything_about(a)
    layer = "3" if case is MLP else "bn2"
    X, _ = case.samples(torch.float64)
    inside = {}
    with torch.no_grad():
        out = []
        for model in (a, b):
            handle = model.get_submodule(layer).register_forward_hook(
                lambda _, i, o, m=model: inside.update({m: o.clone()})
            )
            out.append(model(X))
            handle.remove()
    found = between(objective, a, b, layer=layer)
    assert found.l2 == pytest.approx(l2(a, b))
    norms = [np.linalg.norm(flat(named(m))) for m in (a, b)]
    assert found.relative == pytest.approx(l2(a, b) / math.sqrt((norms[0] ** 2 + norms[1] ** 2) / 2))
    assert found.cka == pytest.approx(by_hand(*inside.values(), False), rel=1e-9)
    assert found.angle == pytest.approx(math.acos(found.cka))
    assert found.disagreement == float((out[0].argmax(1) != out[1].argmax(1)).double().mean())
    assert found.softmax == pytest.approx(softmax_distance(*out))
    assert 0 < found.disagreement < 1
    assert (found.layer, found.split) == (layer, "data")
    assert between(objective, a, b, unbiased=True).cka == pytest.approx(by_hand(*out, True), rel=1e-9)
    assert same(before, everything_about(a))


def test_a_model_is_no_way_from_itself_and_only_what_moves_counts():
    a, b = (MLP.model(seed, torch.float64) for seed in range(2))
    objective = lw.Objective(a, MLP.samples(torch.float64), loss=MLP.loss, params="2.*")
    here = between(objective, a, a)
    assert (here.l2, here.relative, here.disagreement, here.softmax) == (0, 0, 0, 0)
    assert here.cka == pytest.approx(1)
    assert list(between(objective, a, b).by_parameter) == ["2.weight", "2.bias"]
    assert between(objective, a, b).l2 == pytest.approx(math.hypot(*between(objective, a, b).by_parameter.values()))


def test_language_models_have_their_classes_last_and_regressions_none():
    a, b = (TRANSFORMER.model(seed) for seed in range(2))
    found = between(TRANSFORMER.objective(), a, b, classes=2)
    tokens = TRANSFORMER.samples()[:, :-1]
    with torch.no_grad():
        expected = (a(tokens).argmax(-1) != b(tokens).argmax(-1)).double().mean()
    assert found.disagreement == pytest.approx(float(expected))
    line = torch.nn.Linear(6, 1)
    regression = lw.Objective(line, (torch.randn(8, 6), torch.randn(8, 1)), loss=F.mse_loss)
    assert math.isnan(between(regression, line, torch.nn.Linear(6, 1)).disagreement)
    assert distances.between is between


@pytest.mark.parametrize(
    ("made", "data", "axis"),
    [
        (lambda: torch.nn.Conv1d(2, 3, 1), (torch.randn(9, 2, 5), torch.randint(3, (9, 5))), 1),
        (lambda: torch.nn.Conv2d(2, 3, 1), (torch.randn(9, 2, 4, 5), torch.randint(3, (9, 4, 5))), 1),
        (lambda: torch.nn.Linear(2, 3), (torch.randn(9, 5, 2), torch.randint(3, (9, 5))), 2),
        (lambda: torch.nn.Linear(2, 3), (torch.randn(9, 2), torch.randint(3, (9,))), 1),
        (lambda: torch.nn.Linear(2, 3), (torch.randn(9, 3, 2), torch.randint(3, (9, 3))), None),
        (lambda: torch.nn.Linear(2, 3), (torch.randn(9, 5, 2), torch.randn(9, 5)), None),
    ],
)
def test_the_axis_of_classes_is_the_one_that_labels_lack(made, data, axis):
    a, b = made(), made()
    objective = lw.Objective(a, data, loss=lambda out, y: out.square().mean() + y.sum() * 0)
    found = between(objective, a, b)
    if axis is None:
        assert math.isnan(found.disagreement)
        assert math.isnan(found.softmax)
        assert found.cka > 0
        return
    with torch.no_grad():
        expected = (a(data[0]).argmax(axis) != b(data[0]).argmax(axis)).double().mean()
    assert found.disagreement == pytest.approx(float(expected))
    assert found.softmax == between(objective, a, b, classes=axis).softmax


def test_models_of_another_width_are_refused_with_key_and_shapes():
    wide = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.ReLU(), torch.nn.Linear(20, 3))
    with pytest.raises(ValueError, match=r"key '0.weight' must have shape \(16, 6\), got \(20, 6\)"):
        l2(MLP.model(0), wide)
    with pytest.raises(ValueError, match=r"b: Sequential must fit"):
        between(MLP.objective(), MLP.model(0), wide)
