"""Merged models against closed forms, plain loops, and what every method must leave as it is."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch.nn import functional as F
from torch.nn.utils import prune

import lwidgets as lw
from lwidgets import merging
from lwidgets.data import same_bits
from lwidgets.directions import gaussian
from lwidgets.objective import ModelObjective
from tests.models import CASES, CNN, MLP, TRANSFORMER, everything_about, flat, named, same

BASED = {
    "task_arithmetic": merging.task_arithmetic,
    "ties": lambda *models: merging.ties(*models, keep=1.0),
    "dare": lambda *models: merging.dare(*models, drop=0.0),
}


def doubles(case=MLP, count=3):
    return [case.model(seed, torch.float64) for seed in range(count)]


def task(case, seed, dtype=torch.float64):
    """Data of its own for a model: a part of the case's."""
    data = case.samples(dtype)
    if case.by_model:
        return data[seed::3]
    return tuple(part[seed::3] for part in data)


def objectives(case=MLP, count=3):
    return [lw.Objective(case.model(0, torch.float64), task(case, i), loss=case.loss) for i in range(count)]


def every_method(case, models, base):
    tasks = objectives(case, len(models))
    return {
        "average": merging.average(*models),
        **{name: merge(base, *models) for name, merge in BASED.items()},
        "isotropic": merging.isotropic(base, *models),
        "fisher": merging.fisher(*models, objectives=tasks, examples=5),
        "regmean": merging.regmean(*models, objectives=tasks),
        "epimer": merging.epimer(base, *models, objectives=tasks, rank=2),
        "epimer fisher": merging.epimer(base, *models, objectives=tasks, rank=2, curvature="fisher", examples=5),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_method_returns_a_new_state_with_a_label_and_leaves_its_arguments_alone(case):
    base, *models = doubles(case)
    before = [everything_about(m) for m in (base, *models)]
    random = torch.get_rng_state()
    for name, merged in every_method(case, models, base).items():
        assert isinstance(merged, lw.State)
        assert merged.label.startswith(name.split()[0].replace("_", " "))
        assert merged.label.endswith(" of " + ", ".join([type(base).__name__] * 2))
        assert list(merged.parameters) == list(named(base))
        assert all(t.dtype == torch.float64 and bool(t.isfinite().all()) for t in merged.parameters.values())
        assert not same(merged.parameters, named(base))
        assert not same(merged.parameters, named(models[0]))
        assert math.isfinite(case.objective(torch.float64).measure(merged)["loss"])
        owned = {t.data_ptr() for m in (base, *models) for t in m.state_dict().values()}
        assert not any(t.data_ptr() in owned for t in merged.tensors.values())
    assert all(same(one, everything_about(m)) for one, m in zip(before, (base, *models), strict=True))
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_one_model_is_returned_by_every_method_that_claims_it(case):
    base, model = doubles(case, 2)
    (one,) = objectives(case, 1)
    for merged in (
        merging.average(model),
        *(merge(base, model) for merge in BASED.values()),
        merging.fisher(model, objectives=one, examples=5),
        merging.regmean(model, objectives=one),
        merging.epimer(base, model, objectives=one, rank=None, curvature="fisher", examples=5),
    ):
        np.testing.assert_allclose(flat(merged.parameters), flat(named(model)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_identical_models_are_a_fixed_point(case):
    base, model = doubles(case, 2)
    tasks = objectives(case)
    for merged in (
        merging.average(model, model, model, weights=[1, 2, 3]),
        merging.ties(base, model, model, model, keep=1.0),
        merging.task_arithmetic(base, model, model, model, scale=1 / 3),
        merging.fisher(*([model] * 3), objectives=tasks, examples=5),
        merging.regmean(*([model] * 3), objectives=tasks),
        merging.epimer(base, *([model] * 3), objectives=tasks, rank=None, curvature="fisher", examples=5),
    ):
        np.testing.assert_allclose(flat(merged.parameters), flat(named(model)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_averages_and_task_vectors_are_sums_made_by_hand(case):
    base, a, b = (flat(named(m)) for m in doubles(case))
    models = doubles(case)
    np.testing.assert_allclose(
        flat(merging.average(*models, weights=[1, 1, 2]).parameters), (base + a + 2 * b) / 4, rtol=1e-12
    )
    np.testing.assert_allclose(
        flat(merging.task_arithmetic(*models, scale=0.3).parameters),
        base + 0.3 * (a - base + b - base),
        rtol=1e-10,
        atol=1e-14,
    )
    halves = merging.average(*(m.half() for m in doubles(case, 2)))
    assert halves.parameters[next(iter(halves.parameters))].dtype == torch.float16


def ties_by_hand(base, models, keep):
    """Entry by entry, in plain Python."""
    taus = [m - base for m in models]
    count = max(1, round(keep * len(base)))
    trimmed = [np.where(np.abs(t) >= np.sort(np.abs(t))[-count], t, 0) for t in taus]
    merged = []
    for entries in zip(*trimmed, strict=True):
        sign = np.sign(sum(entries))
        agreeing = [e for e in entries if e != 0 and np.sign(e) == sign]
        merged.append(np.mean(agreeing) if agreeing else 0.0)
    return base + np.array(merged)


@pytest.mark.parametrize("keep", [0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("case", [MLP, TRANSFORMER], ids=lambda c: c.name)
def test_ties_is_done_entry_by_entry(case, keep):
    models = doubles(case, 4)
    base, *others = (flat(named(m)) for m in models)
    expected = ties_by_hand(base, others, keep)
    np.testing.assert_allclose(flat(merging.ties(*models, keep=keep).parameters), expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(
        flat(merging.ties(*models, keep=keep, scale=0.4).parameters), base + 0.4 * (expected - base), atol=1e-13
    )


def test_dare_drops_a_share_and_keeps_the_sum_on_average():
    models = doubles(count=3)
    base, a, b = (flat(named(m)) for m in models)
    drawn = [flat(merging.dare(*models, drop=0.5, seed=10 * seed).parameters) - base for seed in range(200)]
    total = a + b - 2 * base
    assert np.corrcoef(np.mean(drawn, axis=0), total)[0, 1] > 0.98
    assert np.mean(drawn, axis=0) @ total / (total @ total) == pytest.approx(1, abs=0.03)
    single = flat(merging.dare(models[0], models[1], drop=0.75, seed=3).parameters) - base
    kept = np.abs(single) > 1e-14
    assert kept.mean() == pytest.approx(0.25, abs=0.08)
    np.testing.assert_allclose(single[kept], 4 * (a - base)[kept], rtol=1e-9)
    assert not np.array_equal(drawn[0], drawn[1])
    once, twice = (merging.dare(*models, seed=5).parameters for _ in range(2))
    assert same(once, twice)
    noise = gaussian(4, "0.weight", (16, 6)).double()  # model 1 of seed 3 has noise of its own
    second = merging.dare(models[0], models[0], models[1], drop=0.75, seed=3).parameters["0.weight"]
    moved = second != models[0][0].weight
    assert torch.equal(moved, torch.special.ndtr(noise) >= 0.75)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_isotropic_matrices_keep_their_directions_and_have_one_singular_value(case):
    base, a, b = doubles(case)
    merged = merging.isotropic(base, a, b, scale=0.7)
    for name, start in named(base).items():
        total = (named(a)[name] + named(b)[name] - 2 * start).numpy()
        tau = (merged.parameters[name] - start).numpy()
        if total.ndim < 2:
            np.testing.assert_allclose(tau, 0.7 * total / 2, rtol=1e-9, atol=1e-13)
            continue
        total, tau = (t.reshape(len(t), -1) for t in (total, tau))
        sizes = np.linalg.svd(total, compute_uv=False)
        np.testing.assert_allclose(np.linalg.svd(tau, compute_uv=False), 0.7 * sizes.mean(), rtol=1e-8)
        product = tau.T @ total if total.shape[0] >= total.shape[1] else total @ tau.T
        np.testing.assert_allclose(product, product.T, atol=1e-9 * np.abs(product).max())  # the same directions
        assert np.linalg.eigvalsh((product + product.T) / 2).min() > -1e-9


def slopes_by_hand(case, model, count):
    """Gradients of single examples, by the user's own module."""
    part = lw.Objective(case.model(0, torch.float64), task(case, 0), loss=case.loss).data.part(count)
    (batch,), (size,) = part.batches, part.sizes
    for i in range(size):
        one = batch[i : i + 1] if case.by_model else tuple(p[i : i + 1] for p in batch)
        loss = case.batch_loss(model, one)
        yield dict(zip(named(model), torch.autograd.grad(loss, list(model.parameters())), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_fisher_weights_are_squared_gradients_of_single_examples(case):
    models, tasks = doubles(case, 2), objectives(case, 2)
    slopes = list(slopes_by_hand(case, models[0], 5))
    expected = {n: sum(s[n] ** 2 for s in slopes) / len(slopes) for n in named(models[0])}
    found = merging.fisher_diagonal(tasks[0], models[0], examples=5)
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, expected[name], rtol=1e-8, atol=1e-14)
    other = merging.fisher_diagonal(tasks[1], models[1], examples=5)
    merged = merging.fisher(*models, objectives=tasks, examples=5, weights=[3, 1])
    for name, tensor in merged.parameters.items():
        p, q = (named(m)[name] for m in models)
        f, g = 3 * found[name], other[name]
        by_hand = torch.where(f + g > 0, (f * p + g * q) / (f + g), (3 * p + q) / 4)
        np.testing.assert_allclose(tensor, by_hand, rtol=1e-9, atol=1e-12)


def test_a_parameter_that_no_task_is_sensitive_to_is_averaged():
    models = doubles(count=2)
    X, y = MLP.samples(torch.float64)
    dead = X.clone()
    dead[:, 2] = 0
    merged = merging.fisher(
        *models, objectives=lw.Objective(models[0], (dead, y), loss=MLP.loss), examples=5, weights=[1, 3]
    )
    mean = merging.average(*models, weights=[1, 3]).parameters["0.weight"]
    np.testing.assert_allclose(merged.parameters["0.weight"][:, 2], mean[:, 2], rtol=1e-12)
    assert not np.allclose(merged.parameters["0.weight"][:, 1], mean[:, 1])


def regressions(bias, tasks=3, inputs=6):
    """Linear regressions on data of different scale, each solved on its own; and on all data together."""
    generator = torch.Generator().manual_seed(1)
    models, data = [], []
    for i in range(tasks):
        X = (1 + i) * torch.randn(20 + 7 * i, inputs, generator=generator, dtype=torch.float64) + i
        y = torch.randn(len(X), 2, generator=generator, dtype=torch.float64)
        models.append(solved(X, y, bias))
        data.append((X, y))
    pooled = solved(*(torch.cat(parts) for parts in zip(*data, strict=True)), bias)
    return models, [lw.Objective(m, d, loss=F.mse_loss) for m, d in zip(models, data, strict=True)], pooled


def solved(X, y, bias):
    wide = torch.cat([X, torch.ones(len(X), 1, dtype=X.dtype)], dim=1) if bias else X
    best = torch.linalg.lstsq(wide, y).solution.T
    model = torch.nn.Linear(X.shape[1], y.shape[1], bias=bias).double()
    with torch.no_grad():
        model.weight.copy_(best[:, : X.shape[1]])
        if bias:
            model.bias.copy_(best[:, -1])
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_regmean_of_regressions_is_the_best_fit_to_all_data(bias):
    models, tasks, pooled = regressions(bias)
    merged = merging.regmean(*models, objectives=tasks, off_diagonal=1.0)
    np.testing.assert_allclose(flat(merged.parameters), flat(named(pooled)), rtol=1e-9, atol=1e-11)
    assert np.abs(flat(merging.regmean(*models, objectives=tasks).parameters) - flat(named(pooled))).max() > 1e-4


def test_regmean_of_layers_is_done_by_hand_and_all_else_is_averaged():
    models, tasks = doubles(CNN, 2), objectives(CNN, 2)
    inputs = []
    for i, model in enumerate(models):
        with torch.no_grad():
            model.head.register_forward_hook(lambda _, given, out: inputs.append(given[0]))
            model(task(CNN, i)[0])
    grams = []
    for x in inputs:
        x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
        gram = x.T @ x
        grams.append(0.6 * gram + 0.4 * torch.diag(torch.diag(gram)))
    wide = [torch.cat([m.head.weight, m.head.bias[:, None]], dim=1).detach() for m in models]
    best = torch.linalg.solve(grams[0] + grams[1], grams[0] @ wide[0].T + grams[1] @ wide[1].T).T
    merged = merging.regmean(*doubles(CNN, 2), objectives=tasks, off_diagonal=0.6)
    np.testing.assert_allclose(merged.parameters["head.weight"], best[:, :-1], rtol=1e-7)
    np.testing.assert_allclose(merged.parameters["head.bias"], best[:, -1], rtol=1e-7)
    mean = merging.average(*models).parameters
    others = [n for n in mean if n.startswith("bn")]
    np.testing.assert_allclose(flat(merged.parameters, others), flat(mean, others), rtol=1e-12)


def test_regmean_averages_where_no_input_varies_and_leaves_tied_weights_alone():
    models = doubles(count=2)
    X, y = MLP.samples(torch.float64)
    dead = X.clone()
    dead[:, 2] = 0
    tasks = [lw.Objective(models[0], (dead[i::2], y[i::2]), loss=MLP.loss) for i in range(2)]
    merged = merging.regmean(*models, objectives=tasks, off_diagonal=1.0).parameters["0.weight"]
    mean = merging.average(*models).parameters["0.weight"]
    torch.testing.assert_close(merged[:, 2], mean[:, 2])
    assert not torch.allclose(merged[:, 1], mean[:, 1])
    twins = []
    for seed in range(2):
        torch.manual_seed(seed)
        first, second = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
        second.weight = first.weight
        twins.append(torch.nn.Sequential(first, torch.nn.Tanh(), second, torch.nn.Linear(6, 3)).double())
    tasks = [lw.Objective(twins[0], (X[i::2], y[i::2]), loss=MLP.loss) for i in range(2)]
    merged = merging.regmean(*twins, objectives=tasks).parameters
    mean = merging.average(*twins).parameters
    torch.testing.assert_close(merged["0.weight"], mean["0.weight"])
    assert not torch.allclose(merged["3.weight"], mean["3.weight"])
    pair = doubles(TRANSFORMER, 2)
    tied = merging.regmean(*pair, objectives=objectives(TRANSFORMER, 2)).parameters["embedding.weight"]
    np.testing.assert_allclose(tied, (pair[0].embedding.weight + pair[1].embedding.weight).detach() / 2)


def quadratics(dim, count, seed=0):
    """Objectives (u - m)^T H (u - m) / 2 with their minima and Hessians."""
    rng = np.random.default_rng(seed)
    minima = rng.normal(size=(count, dim))
    roots = rng.normal(size=(count, dim, dim))
    hessians = roots @ roots.transpose(0, 2, 1)

    def bowl(minimum, hessian):
        m, h = torch.as_tensor(minimum), torch.as_tensor(hessian)
        return lw.Objective.from_function(lambda u: ((u - m) @ h * (u - m)).sum(dim=1) / 2, dim=dim)

    return [bowl(m, h) for m, h in zip(minima, hessians, strict=True)], minima, hessians


@pytest.mark.parametrize("dim", [2, 3])
def test_epimer_of_quadratic_tasks_is_their_joint_minimum(dim):
    bowls, minima, hessians = quadratics(dim, dim)
    joint = np.linalg.solve(hessians.sum(axis=0), np.einsum("tij,tj->i", hessians, minima))
    merged = merging.epimer(torch.zeros(dim), *[torch.as_tensor(m) for m in minima], objectives=bowls)
    np.testing.assert_allclose(merged.parameters["x"], joint, rtol=1e-8)
    near = merging.epimer(
        torch.zeros(dim), *[torch.as_tensor(m) for m in minima], objectives=bowls, damping=0, scale=0.5
    )
    np.testing.assert_allclose(near.parameters["x"], joint / 2, rtol=1e-8)
    shifted = torch.full((dim,), 0.3, dtype=torch.float64)
    moved = merging.epimer(shifted, *[torch.as_tensor(m) for m in minima], objectives=bowls, damping=0)
    np.testing.assert_allclose(moved.parameters["x"], joint, rtol=1e-8)


def test_epimer_of_two_tasks_is_the_best_point_in_the_span_of_their_task_vectors():
    bowls, minima, _ = quadratics(5, 2, seed=3)
    merged = merging.epimer(torch.zeros(5), *[torch.as_tensor(m) for m in minima], objectives=bowls, damping=0)

    def total(shares):
        point = torch.as_tensor(shares @ minima)
        return sum(bowl.measure(point)["loss"] for bowl in bowls)

    best = minimize(total, np.array([0.5, 0.5]), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14})
    np.testing.assert_allclose(merged.parameters["x"], best.x @ minima, atol=1e-6)


def test_epimer_of_linear_regressions_of_full_rank_is_the_best_fit_to_all_tasks():
    models, tasks, _ = regressions(bias=True, tasks=3, inputs=2)
    base = torch.nn.Linear(2, 2).double()
    merged = merging.epimer(base, *models, objectives=tasks, rank=None, damping=0)
    # every task counts alike, and its loss is a mean over examples and outputs
    pairs = [(len(t.data) ** -0.5, *t.data.batches[0]) for t in tasks]
    X = torch.cat([w * torch.cat([x, torch.ones(len(x), 1)], dim=1) for w, x, _ in pairs])
    y = torch.cat([w * target for w, _, target in pairs])
    best = torch.linalg.lstsq(X, y).solution.T
    np.testing.assert_allclose(merged.parameters["weight"], best[:, :2], rtol=1e-7)
    np.testing.assert_allclose(merged.parameters["bias"], best[:, 2], rtol=1e-7)


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
@pytest.mark.parametrize("curvature", merging.CURVATURES)
def test_epimer_stays_in_the_span_of_the_leading_singular_directions(case, curvature):
    base, *models = doubles(case)
    merged = merging.epimer(base, *models, objectives=objectives(case, 2), rank=1, curvature=curvature, examples=4)
    for name, start in named(base).items():
        atoms = []
        for model in models:
            tau = (named(model)[name] - start).numpy()
            u, _, v = np.linalg.svd(tau.reshape(len(tau), -1), full_matrices=False)
            atoms.append(np.outer(u[:, 0], v[0]).ravel())
        moved = (merged.parameters[name] - start).numpy().ravel()
        rest = moved - np.array(atoms).T @ np.linalg.lstsq(np.array(atoms).T, moved, rcond=None)[0]
        assert np.linalg.norm(rest) < 1e-8 * max(1e-6, np.linalg.norm(moved))
        assert np.linalg.norm(moved) > 0


def test_epimer_with_fisher_curvature_is_the_frechet_mean_of_projected_gradients():
    base, a, b = doubles(MLP)
    tasks = objectives(MLP, 2)
    tasks[1] = tasks[1].on(tuple(part[:4] for part in task(MLP, 1)))  # means, not sums, over examples
    merged = merging.epimer(base, a, b, objectives=tasks, rank=1, curvature="fisher", damping=0.3, examples=6)
    columns = []
    offset = 0
    size = len(flat(named(base)))
    for name, start in named(base).items():
        for model in (a, b):
            tau = (named(model)[name] - start).numpy()
            u, _, v = np.linalg.svd(tau.reshape(len(tau), -1), full_matrices=False)
            column = np.zeros(size)
            column[offset : offset + tau.size] = np.outer(u[:, 0], v[0]).ravel()
            columns.append(column)
        offset += start.numel()
    span = np.linalg.qr(np.array(columns).T)[0]
    d = [span.T @ (flat(named(m)) - flat(named(base))) for m in (a, b)]
    h = []
    for model, one in zip((a, b), tasks, strict=True):
        part = one.data.part(6)
        X, y = part.batches[0]
        losses = [F.cross_entropy(model(X[i : i + 1]), y[i : i + 1]) for i in range(len(y))]
        slopes = [
            flat(dict(zip(named(model), torch.autograd.grad(loss, list(model.parameters())), strict=True)))
            for loss in losses
        ]
        h.append(sum(np.outer(span.T @ g, span.T @ g) for g in slopes) / len(slopes))
    flat_mean = (d[0] + d[1]) / 2
    pull = h[0] @ (d[0] - flat_mean) + h[1] @ (d[1] - flat_mean)
    ridge = 0.3 * np.linalg.eigvalsh(h[0] + h[1]).mean() * np.eye(len(pull))
    expected = flat_mean + np.linalg.solve(h[0] + h[1] + ridge, pull)
    np.testing.assert_allclose(flat(merged.parameters) - flat(named(base)), span @ expected, rtol=1e-5, atol=1e-8)


@pytest.fixture(scope="module")
def upright_and_rotated():
    """A network trained on digits both ways, one of it trained further on each, and their tasks with held-out data."""
    images, labels = lw.demo.digits_data()
    both = [images, images.reshape(-1, 8, 8).rot90(1, (1, 2)).reshape(-1, 64)]
    base = lw.demo.train_mlp(torch.cat([x[::2] for x in both]), labels[::2].repeat(2), (32, 32), 0, 150)
    models, tasks = [], []
    for x in both:
        model = copy.deepcopy(base)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(100):
            optimizer.zero_grad()
            F.cross_entropy(model(x[::2]), labels[::2]).backward()
            optimizer.step()
        models.append(model)
        tasks.append(
            lw.Objective(
                model,
                (x[::2], labels[::2]),
                loss=F.cross_entropy,
                metrics={"error": lw.metrics.error},
                test=(x[1::2], labels[1::2]),
            )
        )
    return base, models, tasks


def total(tasks, state, metric="loss"):
    return sum(task.measure(state)[metric] for task in tasks)


def test_epimer_of_networks_on_different_inputs_is_far_below_their_average(upright_and_rotated):
    base, models, tasks = upright_and_rotated
    merged, average = merging.epimer(base, *models, objectives=tasks), merging.average(*models)
    held_out = [task.test for task in tasks]
    assert total(tasks, merged) < 0.6 * total(tasks, average)
    assert total(held_out, merged, "error") < 0.6 * total(held_out, average, "error")
    arithmetic = [merging.task_arithmetic(base, *models, scale=s) for s in (0.3, 0.5, 0.7, 0.85, 1.0)]
    assert total(tasks, merged) < 0.8 * min(total(tasks, state) for state in arithmetic)


@pytest.mark.parametrize("options", [{}, {"curvature": "fisher", "rank": 2, "examples": 32, "scale": 1.2}])
def test_epimers_damping_is_the_one_of_the_lowest_loss(upright_and_rotated, options):
    base, models, tasks = upright_and_rotated
    merged = merging.epimer(base, *models, objectives=tasks, **options)
    powers = [0.0, *(10.0**k for k in range(-3, 3)), math.inf]
    each = {s: merging.epimer(base, *models, objectives=tasks, damping=s, **options) for s in powers}
    losses = {s: total(tasks, state) for s, state in each.items()}
    best = min(losses, key=losses.get)
    assert best not in (0, math.inf)
    assert f", damping {best:g} of " in merged.label
    assert same(merged.parameters, each[best].parameters)


def test_epimer_of_tasks_whose_curvature_tells_nothing_is_their_mean():
    steep = lw.Objective.from_function(lambda u: 10 * (u[:, 0] - 1) ** 4 + 0.01 * (u[:, 0] - 1) ** 2, dim=1)
    bowl = lw.Objective.from_function(lambda u: (u[:, 0] + 1) ** 2 / 2, dim=1)
    models = [torch.tensor([1.0]), torch.tensor([-1.0])]
    merged = merging.epimer(torch.zeros(1), *models, objectives=[steep, bowl])
    assert merged.parameters["x"].tolist() == pytest.approx([0.0], abs=1e-12)
    full = merging.epimer(torch.zeros(1), *models, objectives=[steep, bowl], damping=0)
    assert full.parameters["x"].tolist() == pytest.approx([-0.98 / 1.02])


def test_a_point_whose_loss_is_not_finite_is_not_chosen():
    walled = lw.Objective.from_function(lambda u: torch.where(u[:, 0] < 0.5, torch.nan, (u[:, 0] - 1) ** 2), dim=1)
    bowl = lw.Objective.from_function(lambda u: (u[:, 0] + 1) ** 2 / 20, dim=1)
    merged = merging.epimer(torch.zeros(1), torch.tensor([1.0]), torch.tensor([-1.0]), objectives=[walled, bowl])
    assert merged.parameters["x"].tolist() == pytest.approx([1.9 / 2.1])  # all dampings from 1 on lie in the wall


def test_epimer_measures_networks_with_batchnorm_as_points_between_models(monkeypatch):
    base, *models = doubles(CNN)
    seen = []
    measure = ModelObjective.measure
    monkeypatch.setattr(ModelObjective, "measure", lambda self, s, mode: seen.append(mode) or measure(self, s, mode))
    merging.epimer(base, *models, objectives=objectives(CNN, 2), rank=1)
    assert set(seen) == {"recalibrate"}


def curvatures(rng, count, dim, rank):
    roots = rng.normal(size=(count, dim, rank))
    return roots @ roots.transpose(0, 2, 1)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 1000))
def test_the_frechet_mean_is_the_minimum_and_its_gain_is_exact(count, dim, seed):
    rng = np.random.default_rng(seed)
    h, d = curvatures(rng, count, dim, dim), rng.normal(size=(count, dim))
    weights = rng.uniform(0.1, 1, size=count)
    mean, eta = merging.frechet_mean(h, d, weights)
    shares = weights / weights.sum()

    def total(x):
        return sum(w * (x - p) @ m @ (x - p) for w, m, p in zip(shares, h, d, strict=True))

    slope = sum(w * m @ (mean - p) for w, m, p in zip(shares, h, d, strict=True))
    scale = max(1.0, np.abs(h).max())
    assert np.abs(slope).max() < 1e-9 * scale
    assert eta == pytest.approx(total(shares @ d) - total(mean), abs=1e-12 * scale, rel=1e-9)
    assert eta >= -1e-12
    bar = np.einsum("t,tij->ij", shares, h)
    c = sum(w * (m - bar) @ (p - shares @ d) for w, m, p in zip(shares, h, d, strict=True))
    assert eta == pytest.approx(c @ np.linalg.solve(bar, c), rel=1e-6, abs=1e-12)


@given(st.floats(0, 10), st.integers(0, 100))
def test_damping_draws_to_the_mean_and_the_gain_is_that_of_the_damped_point(damping, seed):
    rng = np.random.default_rng(seed)
    h, d = curvatures(rng, 3, 4, 4), rng.normal(size=(3, 4))
    exact, most = merging.frechet_mean(h, d)
    mean, eta = merging.frechet_mean(h, d, damping=damping)

    def total(x):
        return sum((x - p) @ m @ (x - p) for m, p in zip(h, d, strict=True)) / 3

    assert eta == pytest.approx(total(d.mean(axis=0)) - total(mean), rel=1e-9, abs=1e-9)
    assert -1e-9 <= eta <= most + 1e-9
    assert np.linalg.norm(mean - d.mean(axis=0)) <= np.linalg.norm(exact - d.mean(axis=0)) + 1e-9
    ridge = damping * np.linalg.eigvalsh(h.mean(axis=0)).mean()
    slope = sum(m @ (mean - p) for m, p in zip(h, d, strict=True)) / 3 + ridge * (mean - d.mean(axis=0))
    assert np.abs(slope).max() < 1e-7


def test_a_direction_of_negative_curvature_has_no_say():
    saddle = lw.Objective.from_function(lambda u: 2 * u[:, 0] ** 2 - 5 * u[:, 1] ** 2, dim=2)
    bowl = lw.Objective.from_function(lambda u: (u[:, 0] ** 2 + u[:, 1] ** 2) / 2, dim=2)
    models = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
    merged = merging.epimer(torch.zeros(2), *models, objectives=[saddle, bowl], damping=0)
    # 4 (x - 1) + x = 0; only the bowl is curved along y
    assert merged.parameters["x"].tolist() == pytest.approx([0.8, 1.0])


def test_data_that_cannot_be_divided_give_an_example_a_batch():
    graphs = [{"x": torch.randn(n, 3), "edges": torch.arange(2 * n).reshape(2, n) % n} for n in (4, 6)]

    def loss(model, graph):
        return model(graph["x"])[graph["edges"][0]].square().mean()

    model = torch.nn.Linear(3, 2)
    found = merging.fisher_diagonal(lw.Objective(model, graphs, loss=loss, weight=1), model)
    slopes = [torch.autograd.grad(loss(model, graph), model.weight)[0] for graph in graphs]
    np.testing.assert_allclose(found["weight"], sum(s.double() ** 2 for s in slopes) / 2, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_nothing_of_a_state_that_is_given_is_shared(case):
    models = [lw.State.of(m) for m in doubles(case)]
    owned = {t.data_ptr() for m in models for t in m.tensors.values()}
    tasks = objectives(case, 2)
    tasks += [lw.Objective(case.model(0, torch.float64), task(case, 0), loss=case.loss, params="*.bias")]
    for merged in (
        *every_method(case, models[1:], models[0]).values(),
        merging.fisher(*models, objectives=tasks[2:] * 3, examples=2),
    ):
        assert not any(t.data_ptr() in owned for t in merged.tensors.values())


def test_where_no_task_is_curved_the_mean_stays_and_equal_curvatures_gain_nothing():
    h = np.array([np.diag([1.0, 0.0]), np.diag([3.0, 0.0])])
    mean, _ = merging.frechet_mean(h, [[0.0, 0.0], [4.0, 10.0]])
    np.testing.assert_allclose(mean, [3.0, 5.0])
    mean, eta = merging.frechet_mean(h + np.eye(2), [[0.0, 0.0], [4.0, 10.0]], [3, 1], damping=math.inf)
    assert (mean.tolist(), eta) == ([1.0, 2.5], 0)
    mean, eta = merging.frechet_mean([np.eye(2)] * 2, [[0.0, 0.0], [4.0, 10.0]])
    np.testing.assert_allclose(mean, [2.0, 5.0])
    assert eta == 0


def test_only_what_moves_is_merged_with_an_objective():
    models = doubles(count=2)
    tasks = [lw.Objective(models[0], task(MLP, i), loss=MLP.loss, params="4.*") for i in range(2)]
    for merged in (
        merging.fisher(*models, objectives=tasks, examples=3),
        merging.epimer(models[0], *models, objectives=tasks, rank=1),
        merging.regmean(*models, objectives=tasks),
    ):
        assert torch.equal(merged.parameters["0.weight"], models[0][0].weight)
        assert not torch.equal(merged.parameters["4.weight"], models[0][4].weight)


def test_a_merged_network_is_measured_with_recalibrated_statistics():
    models = doubles(CNN, 2)
    merged = merging.average(*models)
    assert same(merged.buffers, dict(models[0].named_buffers()))
    objective = CNN.objective(torch.float64)
    middle = lw.sample(objective, lw.Line(*models), resolution=3, tolerance=0)
    assert objective.measure(merged, "recalibrate")["loss"] == pytest.approx(middle.values["loss"][1], rel=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda a, b, o: merging.average(),
            r"average: models must be one or more, got none. Pass for example average\(a, b\)",
        ),
        (
            lambda a, b, o: merging.ties(a),
            r"ties: models must be one or more, got none. Pass for example ties\(base, a, b\)",
        ),
        (
            lambda a, b, o: merging.average(a, b, weights=[1]),
            r"weights must be 2 numbers with a positive sum, got \[1\]",
        ),
        (lambda a, b, o: merging.average(a, b, weights=[1, -1]), r"weights must be 2 numbers with a positive sum"),
        (lambda a, b, o: merging.ties(a, b, keep=0), r"ties: keep must lie in \(0, 1\], got 0"),
        (lambda a, b, o: merging.dare(a, b, drop=1), r"dare: drop must lie in \[0, 1\), got 1"),
        (
            lambda a, b, o: merging.regmean(a, b, objectives=o, off_diagonal=2),
            r"off_diagonal must lie in \[0, 1\], got 2",
        ),
        (
            lambda a, b, o: merging.fisher(a, b, objectives=[o]),
            r"fisher: objectives must be one for each .* got 1 for 2",
        ),
        (
            lambda a, b, o: merging.epimer(a, b, objectives=o, curvature="kfac"),
            r"curvature must be one of hessian, fisher .* 'kfac'",
        ),
        (lambda a, b, o: merging.epimer(a, b, objectives=o, rank=0), r"rank at least 1, got 'hessian' and 0"),
        (
            lambda a, b, o: merging.average(a, CNN.model()),
            r"b: ResidualCNN must fit the objective's model, got 15 mismatch",
        ),
        (
            lambda a, b, o: merging.task_arithmetic(a, torch.nn.Sequential(torch.nn.Linear(6, 20))),
            r"key '0.weight' must have shape \(16, 6\), got \(20, 6\)",
        ),
        (
            lambda a, b, o: merging.regmean(
                torch.zeros(2), objectives=lw.Objective.from_function(lambda u: u.sum(1), 2)
            ),
            r"input_grams: objective must have a model, got an analytic one",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(MLP.model(0), MLP.model(1), MLP.objective())


@pytest.mark.parametrize("damping", [-1.0, math.nan, -math.inf])
def test_epimer_refuses_a_damping_below_zero(damping):
    base, *models = doubles(count=3)
    with pytest.raises(ValueError, match=r"epimer: damping must lie in \[0, inf\], got"):
        merging.epimer(base, *models, objectives=objectives(count=2), damping=damping)


class Buffered(torch.nn.Module):
    """A classifier with buffers that are no weights: an extra one of its own beside a layer that is used."""

    def __init__(self, **buffers):
        super().__init__()
        self.one, self.two = torch.nn.Linear(6, 6), torch.nn.Linear(6, 3)
        self.frozen = torch.nn.Parameter(torch.linspace(0, 1, 6), requires_grad=False)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    def forward(self, x):
        h = torch.tanh(self.one(x) + self.frozen)
        for name, buffer in self.named_buffers():
            h = h + buffer if name == "table" else h
            h = (h[:, None] + buffer).amax(1) if name == "mask" else h
            h = h * buffer if name == "scale" else h
            h = torch.where(buffer, h, 0.0) if name == "kept" else h
        return self.two(h)


def torchs_own(kind):
    torch.manual_seed(0)
    model = Buffered()
    if kind == "pruned":
        prune.l1_unstructured(model.one, "weight", 0.5)
    elif kind == "spectral norm":
        torch.nn.utils.parametrizations.spectral_norm(model.one)
    elif kind == "old spectral norm":
        torch.nn.utils.spectral_norm(model.one)
    return model


BUFFERS = {
    "none": Buffered,
    "mask": lambda: Buffered(mask=torch.full((6, 6), -torch.inf).triu(1)),
    "nan and infinity": lambda: Buffered(unused=torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0])),
    "table": lambda: Buffered(table=torch.arange(6).cos(), inv_freq=torch.tensor(0.01)),
    "scale": lambda: Buffered(scale=torch.tensor([2.0, 3, 1, 1, 1, 1], dtype=torch.float16)),
    "whole numbers": lambda: Buffered(kept=torch.arange(6) % 2 == 0, ids=torch.arange(4)),
    "pruned": lambda: torchs_own("pruned"),
    "spectral norm": lambda: torchs_own("spectral norm"),
    "old spectral norm": lambda: torchs_own("old spectral norm"),
    "tied": lambda: TRANSFORMER.make(),
}
BARE = {
    "average": merging.average,
    "task_arithmetic": lambda *models, **like: merging.task_arithmetic(*models, scale=0.5, **like),
    "ties": lambda *models, **like: merging.ties(*models, keep=0.3, **like),
    "dare": lambda *models, **like: merging.dare(*models, drop=0.6, **like),
    "isotropic": merging.isotropic,
}


def trained_apart(make, count=3):
    """Models of one make whose weights differ, and whose pruning and spectra do, too."""
    torch.manual_seed(1)
    models = [make().eval() for _ in range(count)]
    for i, model in enumerate(models):
        model.load_state_dict(models[0].state_dict())
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * i * torch.randn_like(p)) if p.requires_grad else p
            for name, buffer in model.named_buffers():
                if name.endswith("weight_mask"):
                    buffer.copy_(torch.randn_like(buffer) > 0)
                if name.endswith(("_u", "_v")):
                    buffer.copy_(F.normalize(torch.randn_like(buffer), dim=0))
    return models


@pytest.mark.parametrize("kind", BUFFERS)
def test_modules_and_their_state_dicts_give_the_same_and_buffers_stay_to_the_bit(kind, tmp_path):
    models = trained_apart(BUFFERS[kind])
    dicts = [m.state_dict() for m in models]
    torch.save(dicts[1], tmp_path / "one.pt")
    bare, mixed = [dicts[0], tmp_path / "one.pt", dicts[2]], [*dicts[:2], models[2]]
    for method in BARE.values():
        expected = method(*models)
        for sources in (dicts, bare, mixed):
            found = method(*sources).tensors
            for name, tensor in expected.tensors.items():
                assert same_bits(found[name], tensor), name
        for name, buffer in models[0].named_buffers():
            assert expected.buffers[name].dtype == buffer.dtype
            assert same_bits(expected.buffers[name], buffer)
        if "frozen" in dicts[0]:
            assert torch.equal(expected.parameters["frozen"], models[0].frozen)
        fresh = BUFFERS[kind]()
        fresh.load_state_dict({**dicts[0], **method(*dicts).tensors})  # tied names included
        assert all(t.equal(expected.parameters[n]) for n, t in fresh.named_parameters())


def test_a_buffer_that_differs_is_told_by_a_module():
    def make(shift):
        torch.manual_seed(int(shift))
        return Buffered(table=torch.full((6,), shift))

    models = [make(shift) for shift in (1.0, 2.0, 5.0)]
    dicts = [m.state_dict() for m in models]
    for method in BARE.values():
        expected = method(*models)
        for found in (method(*dicts, like=make(9.0)), method(dicts[0], dicts[1], models[2])):
            assert torch.equal(found.tensors["table"], torch.ones(6))
            assert all(torch.equal(found.tensors[n], t) for n, t in expected.tensors.items())
    halves = [{n: t.half() for n, t in d.items()} for d in dicts]
    assert merging.average(*halves, like=models[0]).parameters["one.weight"].dtype == torch.float16


def test_only_what_is_merged_counts_as_an_entry_that_may_be_trimmed():
    models = trained_apart(lambda: Buffered(table=torch.arange(6).cos()))
    names = [n for n, p in models[0].named_parameters() if p.requires_grad]
    base, *others = (flat(named(m), names) for m in models)
    for sources in (models, [m.state_dict() for m in models]):
        found = flat(merging.ties(*sources, keep=0.3).parameters, names)
        np.testing.assert_allclose(found, ties_by_hand(base, others, 0.3), rtol=1e-6)


def test_what_differs_and_is_not_finite_is_refused_and_the_way_out_works():
    models = [Buffered(mask=torch.full((6, 6), -torch.inf).triu(1 + i)) for i in range(2)]
    dicts = [m.state_dict() for m in models]
    with pytest.raises(ValueError, match=r"ties: 'mask' must be finite where models differ, got -inf in a: state dict"):
        merging.ties(*dicts)
    merged = merging.ties(*dicts, like=models[0])
    assert torch.equal(merged.tensors["mask"], models[0].mask)
    with torch.no_grad():
        models[1].one.bias[2] = torch.nan
    with pytest.raises(ValueError, match=r"'one.bias' must be finite where models differ, got nan in b: Buffered. Lea"):
        merging.average(*models)


@pytest.mark.parametrize("given", [list, tuple, lambda models: {"first": models[0], "second": models[1]}])
def test_models_are_given_one_by_one_and_objectives_in_any_way(given):
    models, tasks = doubles(count=2), objectives(count=2)
    for method, called in (
        (lambda *m: merging.average(*m), r"average\(a, b\)"),
        (lambda *m: merging.ties(models[0], *m), r"ties\(base, a, b\)"),
        (lambda *m: merging.fisher(*m, objectives=tasks), r"fisher\(a, b, objectives=...\)"),
        (lambda *m: merging.epimer(models[0], *m, objectives=tasks), r"epimer\(base, a, b, objectives=...\)"),
    ):
        with pytest.raises(TypeError, match=rf"must be given one by one, got a \w+\. Pass {called}"):
            method(given(models))
    for way in (tasks, tuple(tasks), {"first": tasks[0], "second": tasks[1]}):
        found = merging.fisher(*models, objectives=way, examples=4)
        assert same(found.parameters, merging.fisher(*models, objectives=tasks, examples=4).parameters)
    other = lw.Objective(CNN.model(), task(CNN, 0, torch.float32), loss=CNN.loss)
    with pytest.raises(ValueError, match=r"regmean: objectives must be of one architecture"):
        merging.regmean(*models, objectives=[tasks[0], other])


def test_examples_of_batches_that_cannot_be_put_together_are_taken_one_by_one():
    sequences = [torch.randn(4, 5, 2, dtype=torch.float64), torch.randn(3, 7, 2, dtype=torch.float64)]
    model = torch.nn.Linear(2, 1).double()
    objective = lw.Objective(model, sequences, loss=lambda model, x: model(x).square().mean())
    slopes = [
        torch.autograd.grad(model(x[i : i + 1]).square().mean(), list(model.parameters()))
        for x in sequences
        for i in range(len(x))
    ]
    found = merging.fisher_diagonal(objective, model)
    for name, each in zip(("weight", "bias"), zip(*slopes, strict=True), strict=True):
        np.testing.assert_allclose(found[name], sum(g**2 for g in each) / 7, rtol=1e-9)
    some = merging.fisher_diagonal(objective, model, examples=2)
    np.testing.assert_allclose(some["weight"], (slopes[0][0] ** 2 + slopes[6][0] ** 2) / 2, rtol=1e-9)
