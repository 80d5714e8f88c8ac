"""Forked training runs against runs that are disturbed by hand."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.connectivity.butterfly import butterfly
from lwidgets.directions import gaussian
from lwidgets.distances import l2
from tests.models import CNN, MLP, TRANSFORMER, named, same


def trainer(case, steps=8, momentum=0.9):
    """SGD with momentum on random mini-batches, from a fixed seed."""

    def train(before):
        torch.manual_seed(3)
        model = case.make().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        data = case.samples()
        for step in range(steps):
            before(step, model)
            rows = torch.randperm(len(data if case.by_model else data[0]))[:10]
            batch = data[rows] if case.by_model else tuple(part[rows] for part in data)
            optimizer.zero_grad()
            case.batch_loss(model, batch).backward()
            optimizer.step()
            scheduler.step()
        return model

    return train


def disturbed(case, step, noise):
    def before(now, model):
        if now == step:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.add_(noise(model)[name])

    return trainer(case)(before)


@pytest.mark.parametrize("case", [MLP, CNN, TRANSFORMER], ids=lambda c: c.name)
def test_without_noise_a_fork_ends_where_the_run_does_to_the_last_bit(case):
    found = butterfly(trainer(case), at=[0, 5], scale=[0.0, 1e-3])
    assert found.steps == 8
    assert [(f.at, f.scale, f.seed) for f in found.forks] == [(0, 0, 0), (0, 1e-3, 0), (5, 0, 0), (5, 1e-3, 0)]
    plain = trainer(case)(lambda step, model: None)
    assert same(found.base.parameters, named(plain))
    assert same(found.base.buffers, dict(plain.named_buffers()))
    for fork in found.forks:
        if fork.scale == 0:
            assert same(fork.state.tensors, found.base.tensors)
            assert fork.moved == 0
        else:
            assert l2(fork.state, found.base) > 0


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_gaussian_noise_has_the_scale_of_the_initialisation(case):
    found = butterfly(trainer(case), at=[3], scale=[0.1], seeds=[5, 6])
    starts = {}
    trainer(case)(lambda step, model: starts.update({step: named(model)}))

    def noise(model):
        return {
            n: 0.1 * starts[0][n].double().std(correction=0).float() * gaussian(5, n, t.shape)
            for n, t in starts[0].items()
        }

    expected = disturbed(case, 3, noise)
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found.forks[0].state.parameters[name], parameter.detach(), rtol=1e-4, atol=1e-6)
    drawn = noise(None)
    assert found.forks[0].moved == pytest.approx(
        float(torch.cat([t.flatten() for t in drawn.values()]).norm()), rel=1e-5
    )
    assert not same(found.forks[0].state.parameters, found.forks[1].state.parameters)
    if case is CNN:  # BatchNorm's scale and shift are constants at first
        assert not drawn["bn1.weight"].any()


def test_batch_noise_is_a_gradient_of_the_length_that_gaussian_noise_has():
    data = torch.randn(200, 6), torch.arange(200) % 3
    objective = lw.Objective(MLP.model(0), data, loss=MLP.loss)
    found = butterfly(trainer(MLP), at=[2], scale=[0.05], seeds=[4], kind="batch", objective=objective)
    starts = {}
    trainer(MLP)(lambda step, model: starts.update({step: named(model)}))
    length = np.sqrt(sum(float(t.double().var(correction=0)) * t.numel() for t in starts[0].values()))
    assert found.forks[0].moved == pytest.approx(0.05 * length, rel=1e-5)
    X, y = next(objective.mini_batches(64, np.random.default_rng(4)))

    def noise(model):
        slopes = torch.autograd.grad(F.cross_entropy(model(X), y), list(model.parameters()))
        norm = torch.cat([s.flatten() for s in slopes]).norm()
        return {n: 0.05 * length * s / norm for (n, _), s in zip(model.named_parameters(), slopes, strict=True)}

    at_fork = MLP.make()
    at_fork.load_state_dict(starts[2])
    drawn = noise(at_fork)
    expected = disturbed(MLP, 2, lambda model: drawn)
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found.forks[0].state.parameters[name], parameter.detach(), rtol=1e-3, atol=1e-5)


def test_the_forks_are_told_apart_and_measured_like_any_model():
    found = butterfly(trainer(MLP), at=[1], scale=[0.1])
    assert found.forks[0].state.label == "forked before step 1, gaussian noise of scale 0.1, seed 0"
    objective = MLP.objective()
    assert lw.sample(objective, lw.Line(found.base, found.forks[0].state), resolution=9).barrier().value >= 0


def test_the_global_random_state_is_the_same_for_every_run_and_left_as_it_was():
    def train(before):
        model = MLP.make()
        before(0, model)
        with torch.no_grad():
            model[0].weight.add_(torch.randn(16, 6))
        return model

    state, grad = torch.get_rng_state(), torch.is_grad_enabled()
    found = butterfly(train, at=[0], scale=[0.0])
    assert same(found.base.tensors, found.forks[0].state.tensors)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled() == grad


def test_noise_in_the_first_step_ends_behind_a_barrier_that_alignment_leaves_and_noise_at_half_time_does_not():
    images, labels = lw.demo.digits_data()
    mixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:1437]
    images, labels = images[mixed], labels[mixed]

    def train(before):
        torch.manual_seed(0)
        widths = [64, *[32] * 5, 10]
        linear = [nn.Linear(wide, narrow) for wide, narrow in pairwise(widths)]
        for layer in linear:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        model = nn.Sequential(*(part for layer in linear for part in (layer, nn.ReLU())))[:-1]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        batches = [rows for _ in range(20) for rows in torch.randperm(len(images)).split(32)[:44]]
        for step, rows in enumerate(batches):
            before(step, model)
            optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / len(batches))
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
        return model

    found = butterfly(train, at=[0, 440], scale=[1e-4], seeds=range(3))
    objective = lw.Objective(train(lambda step, model: None), (images, labels), loss=F.cross_entropy)
    assert found.steps == 880
    assert objective.measure(found.base)["loss"] < 0.1

    def barrier(end):
        return lw.sample(objective, lw.Line(found.base, end), resolution=17, tolerance=0).barrier().value

    early, late = (np.mean([barrier(f.state) for f in found.forks if f.at == step]) for step in (0, 440))
    aligned = [
        barrier(lw.align(found.base, f.state, objective, method="weights").state) for f in found.forks if f.at == 0
    ]
    assert early > 0.1
    assert late < 0.01
    assert np.mean(aligned) > 0.5 * early


def test_a_run_that_is_not_repeated_is_refused_with_the_parameter():
    count = [0]

    def train(before):
        torch.manual_seed(0)
        model = MLP.make()
        with torch.no_grad():
            model[2].bias.add_(count[0])
        count[0] += 1
        before(0, model)
        return model

    with pytest.raises(ValueError, match=r"must do the same whenever it is called, got another '2.bias' before step 0"):
        butterfly(train, at=[0], scale=[0.1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": [3, 8, 9]}, r"at must be among the run's steps, 0 to 7, got \[8, 9\]"),
        ({"at": [0], "kind": "uniform"}, r"kind must be one of gaussian, batch, .* got 'uniform'"),
        ({"at": [0], "kind": "batch"}, r"the latter with an objective, got 'batch' with None"),
    ],
)
def test_what_cannot_be_forked_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        butterfly(trainer(MLP), scale=[0.1], **options)


def test_a_run_that_calls_nothing_is_told_what_to_call():
    with pytest.raises(ValueError, match=r"got no call for step 0. Call before\(step, model\) before every step"):
        butterfly(lambda before: MLP.make(), at=[], scale=[])
