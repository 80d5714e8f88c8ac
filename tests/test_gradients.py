"""Derivatives of the loss against torch's on the user's own module, and against differences."""

import copy

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.basis import inner
from lwidgets.gradients import DifferentiableLoss
from tests.models import CASES, CNN, MLP, TRANSFORMER, everything_about, flat, named, same


def smooth(case, seed=0):
    """The case's model in float64, its ReLUs replaced, so that differences converge."""
    model = case.model(seed, torch.float64)
    for part in model.modules():
        for name, child in part.named_children():
            if isinstance(child, torch.nn.ReLU):
                setattr(part, name, torch.nn.Tanh())
        if isinstance(part, torch.nn.TransformerEncoderLayer):
            part.activation = torch.nn.functional.gelu
            part.activation_relu_or_gelu = 2
    return model


@pytest.mark.parametrize("mode", ["frozen", "batch"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_gradient_is_that_of_the_users_module(case, mode):
    model, there = case.model(0, torch.float64), case.model(1, torch.float64)
    objective = lw.Objective(model, case.samples(torch.float64), loss=case.loss)
    found = DifferentiableLoss(objective, lw.State.of(there), mode).gradient(named(there))
    plain = copy.deepcopy(there)
    for part in plain.modules():
        part.train(mode == "batch" and isinstance(part, torch.nn.BatchNorm2d))
    case.batch_loss(plain, case.samples(torch.float64)).backward()
    for name, parameter in plain.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", [MLP, TRANSFORMER], ids=lambda c: c.name)
def test_a_hessian_product_is_the_difference_of_gradients(case):
    model = smooth(case)
    loss = DifferentiableLoss(lw.Objective(model, case.samples(torch.float64), loss=case.loss), lw.State.of(model))
    here = named(model)
    direction = {name: torch.randn_like(t) for name, t in here.items()}
    step = 1e-5
    ahead, behind = (
        loss.gradient({name: t + sign * step * direction[name] for name, t in here.items()}) for sign in (1, -1)
    )
    expected = (flat(ahead) - flat(behind)) / (2 * step)
    found = flat(loss.hessian_product(here, direction))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    other = {name: torch.randn_like(t) for name, t in here.items()}
    assert inner(other, loss.hessian_product(here, direction)) == pytest.approx(
        inner(direction, loss.hessian_product(here, other)), rel=1e-9
    )
    some = {name: t for name, t in direction.items() if "weight" in name}
    whole = {name: direction[name] if name in some else torch.zeros_like(t) for name, t in here.items()}
    np.testing.assert_allclose(flat(loss.hessian_product(here, some)), flat(loss.hessian_product(here, whole)))


def test_all_data_are_averaged_by_sample_and_not_by_batch():
    X, y = MLP.samples(torch.float64)
    model = MLP.model(0, torch.float64)
    whole = lw.Objective(model, (X, y), loss=MLP.loss)
    parts = lw.Objective(model, [(X[:30], y[:30]), (X[30:], y[30:])], loss=MLP.loss)
    state = lw.State.of(model)
    gradients, products = zip(
        *(
            (
                loss.gradient(state.parameters),
                loss.hessian_product(state.parameters, named(MLP.model(1, torch.float64))),
            )
            for loss in (DifferentiableLoss(o, state) for o in (whole, parts))
        ),
        strict=True,
    )
    for pair in (gradients, products):
        np.testing.assert_allclose(flat(pair[0]), flat(pair[1]), rtol=1e-9, atol=1e-13)


def test_what_does_not_move_has_no_gradient_and_a_loss_without_curvature_no_product():
    model = MLP.model(0, torch.float64)
    objective = lw.Objective(model, MLP.samples(torch.float64), loss=MLP.loss, params="2.*")
    assert list(DifferentiableLoss(objective, lw.State.of(model)).gradient(named(model))) == ["2.weight", "2.bias"]
    linear = lw.Objective.from_function(lambda u: 3 * u[:, 0] + u[:, 1], dim=2)
    point = lw.State.of(torch.zeros(2))
    loss = DifferentiableLoss(linear, point)
    assert loss.gradient(point.parameters)["x"].tolist() == [3.0, 1.0]
    assert loss.hessian_product(point.parameters, point.parameters)["x"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_nothing_of_the_users_is_touched(case):
    model = case.model(0).train()
    objective = lw.Objective(model, case.samples(), loss=case.loss)
    before, random = everything_about(model), torch.get_rng_state()
    state = lw.State.of(case.model(1))
    kept = {name: tensor.clone() for name, tensor in state.tensors.items()}
    with torch.no_grad():
        loss = DifferentiableLoss(objective, state, "batch")
        assert any(t.any() for t in loss.gradient(state.parameters).values())
        assert any(t.any() for t in loss.hessian_product(state.parameters, state.parameters).values())
        assert not torch.is_grad_enabled()
    assert same(before, everything_about(model))
    assert same(kept, state.tensors)
    assert torch.equal(random, torch.get_rng_state())


def test_recalibrated_statistics_have_no_derivative_and_the_advice_works():
    objective = CNN.objective()
    state = lw.State.of(CNN.model(0))
    with pytest.raises(ValueError, match=r'batchnorm must be "frozen" or "batch", got "recalibrate"') as caught:
        DifferentiableLoss(objective, state, "recalibrate")
    assert 'batchnorm="batch"' in str(caught.value)
    DifferentiableLoss(objective, state, "batch")


def test_mini_batches_are_random_examples_each_as_often_as_another():
    X = torch.arange(30.0)[:, None]
    data = [(X[:10], X[:10, 0].long()), (X[10:], X[10:, 0].long())]
    objective = lw.Objective(torch.nn.Linear(1, 1), data, loss=lambda out, y: (out[:, 0] - y).square().mean())
    stream = objective.mini_batches(5, np.random.default_rng(0))
    counts = np.zeros(30)
    for _ in range(3000):
        inputs, target = next(stream)
        assert len(inputs) == len(set(target.tolist())) == 5
        assert torch.equal(inputs[:, 0].long(), target)
        counts[target.numpy()] += 1
    assert np.abs(counts / counts.sum() - 1 / 30).max() < 5 * np.sqrt(1 / 30 / 15_000) * 1.5
    again = objective.mini_batches(5, np.random.default_rng(0))
    first, second = next(again), next(objective.mini_batches(5, np.random.default_rng(1)))
    assert torch.equal(first[1], next(objective.mini_batches(5, np.random.default_rng(0)))[1])
    assert not torch.equal(first[1], second[1])


def test_a_batch_that_cannot_be_divided_comes_whole():
    graph = {"edges": torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]), "x": torch.randn(4, 3)}
    objective = lw.Objective(
        torch.nn.Linear(3, 2), [graph], loss=lambda model, batch: model(batch["x"])[batch["edges"][0]].square().mean()
    )
    batch = next(objective.mini_batches(2, np.random.default_rng(0)))
    assert same(batch, graph)
    assert batch["x"] is not objective.data.batches[0]["x"]


def halves(case, **options):
    """The case's smooth model, and its loss on data in two batches of unequal size."""
    model = smooth(case)
    X, y = case.samples(torch.float64)
    objective = lw.Objective(model, [(X[:5], y[:5]), (X[5:], y[5:])], **{"loss": case.loss, **options})
    return model, lw.DifferentiableLoss(objective, lw.State.of(model))


def doubled(output, target):
    return 2 * torch.nn.functional.cross_entropy(output, target)


@pytest.mark.parametrize("given", [torch.nn.functional.cross_entropy, torch.nn.CrossEntropyLoss(), doubled])
@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_what_curvlinops_is_given_has_the_same_gradient_and_hessian(case, given):
    model, loss = halves(case, loss=given)
    there = named(case.model(1, torch.float64))
    private, criterion, params, data = loss.as_curvlinops(there)
    assert not {p.data_ptr() for p in params} & {p.data_ptr() for p in model.parameters()}
    assert not private.training
    assert isinstance(criterion, torch.nn.CrossEntropyLoss) == (given is not doubled)
    total = sum(len(X) for X, _ in data)
    value = sum(len(X) / total * criterion(private(X), y) for X, y in data)
    first = torch.autograd.grad(value, params, create_graph=True)
    direction = {n: torch.randn_like(t) for n, t in zip(loss.names, params, strict=True)}
    second = torch.autograd.grad(sum((g * direction[n]).sum() for n, g in zip(loss.names, first, strict=True)), params)
    for name, gradient, product in zip(loss.names, first, second, strict=True):
        np.testing.assert_allclose(loss.gradient(there)[name], gradient.detach(), rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(loss.hessian_product(there, direction)[name], product, rtol=1e-8, atol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what it imports
@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_the_hessian_of_curvlinops_is_ours(case):
    curvlinops = pytest.importorskip("curvlinops")
    model, loss = halves(case)
    given = loss.as_curvlinops()
    direction = {n: torch.randn_like(t) for n, t in zip(loss.names, given[2], strict=True)}
    found = curvlinops.HessianLinearOperator(*given) @ torch.cat([direction[n].flatten() for n in loss.names])
    own = loss.hessian_product(named(model), direction)
    np.testing.assert_allclose(found, torch.cat([own[n].flatten() for n in loss.names]), rtol=1e-9, atol=1e-12)
    assert (curvlinops.EFLinearOperator(*given) @ torch.ones(len(found), dtype=torch.float64)).isfinite().all()


def test_what_does_not_move_is_no_parameter_of_curvlinops():
    _, loss = halves(MLP, params="2.*")
    model, _, params, _ = loss.as_curvlinops()
    assert [p.shape for p in params] == [dict(model.named_parameters())[n].shape for n in ("2.weight", "2.bias")]
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["2.weight", "2.bias"]


def shaken(output, target):
    np.random.seed(0)  # noqa: NPY002
    return torch.nn.functional.cross_entropy(np.random.rand() * output, target)  # noqa: NPY002


def cross_entropy_of(model, batch):
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize(
    ("options", "mode", "words"),
    [
        ({"loss": cross_entropy_of}, "frozen", r"form loss\(output, y\), got loss\(model, batch\)"),
        ({"weight": [1.0, 3.0]}, "frozen", r"count as many as their examples, got other weights"),
        ({"loss": shaken}, "frozen", r"form loss\(output, y\), got one with noise"),
        ({}, "batch", r'batchnorm must be "frozen", got statistics of batches'),
    ],
    ids=["calls the model", "weights", "noise", "batch statistics"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_curvlinops_cannot_express_is_refused_by_name(options, mode, words):
    model = CNN.model(0, torch.float64)
    X, y = CNN.samples(torch.float64)
    objective = lw.Objective(model, [(X[:5], y[:5]), (X[5:], y[5:])], **{"loss": CNN.loss, **options})
    with pytest.raises(ValueError, match=rf"DifferentiableLoss\.as_curvlinops: .*{words}.* Use gradient and hessian"):
        lw.DifferentiableLoss(objective, lw.State.of(model), mode).as_curvlinops()


def test_an_analytic_objective_has_derivatives_but_no_curvlinops():
    bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
    loss = lw.DifferentiableLoss(bowl, lw.State.of([1, 2]))
    assert loss.gradient({"x": torch.tensor([1.0, 2.0])})["x"].tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match=r"as_curvlinops: objective must have a model, got an analytic one"):
        loss.as_curvlinops()
