"""Activation matching: where groups act, statistics against numpy, and planted elements."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.parameters import State
from lwidgets.symmetry import Group, Level, Spec
from lwidgets.symmetry.activations import Moments, carriers, match_activations
from lwidgets.symmetry.align import align
from lwidgets.symmetry.derive import derive
from tests.models import CASES, CNN, MLP, TRANSFORMER, everything_about, same


def of(case, seed=0):
    return case.objective().space.select(State.of(case.model(seed)))


def derived(case):
    return derive(case.model(), (case.samples() if case.by_model else case.samples()[0])[:4])


def apart(a, b):
    return max(float((t - b.parameters[n]).abs().max()) for n, t in a.parameters.items())


def test_groups_are_found_where_they_act():
    objective = MLP.objective()
    found = carriers(derived(MLP), of(MLP), objective)
    assert {name: len(places) for name, places in found.items()} == {"0": 2, "2": 2}  # before and after the ReLU
    assert {place.dim for places in found.values() for place in places} == {1}
    (places,) = carriers(derived(CNN), of(CNN), CNN.objective()).values()
    assert len(places) == 8  # two convolutions, two norms, two ReLUs, a sum and a mean
    names = carriers(derived(TRANSFORMER), of(TRANSFORMER), TRANSFORMER.objective())
    assert sorted(names) == ["embedding", "layer.linear1"]
    assert all(names.values())


class Bare(nn.Module):
    """No layers, and one size for everything: inputs, units, and examples."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        return torch.einsum("ho,bh->bo", self.down, (x @ self.up).exp())


def test_works_without_layers_and_where_all_sizes_are_the_same():
    torch.manual_seed(0)
    a, (x, y) = Bare(), MLP.samples()
    objective = lw.Objective(a, (x[:6], y[:6]), loss=F.cross_entropy)
    spec = Spec.from_axes([Group("h", 6)], {"up": (None, "h"), "down": ("h", None)})
    found = carriers(spec, State.of(a), objective)["h"]
    assert {place.dim for place in found} == {1}  # and not that of the six examples
    b = spec.apply(spec.random(0), a)
    match = match_activations(spec, State.of(a), b, objective)
    assert apart(State.of(a), spec.apply(match.element, b)) == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("level", [Level.GENERAL, Level.ORTHOGONAL, Level.PERMUTATION])
def test_a_planted_element_is_undone(case, level):
    spec, a = derived(case).restrict(level), of(case)
    b = spec.apply(spec.random(4), a)
    found = match_activations(spec, a, b, case.objective())
    back = spec.apply(found.element, b)
    assert apart(a, back) < 1e-6
    assert found.trace[1] < 0.1 < found.trace[0]


class Rotated(nn.Module):
    """A stream that only norms without scales touch, so that it may be rotated."""

    def __init__(self):
        super().__init__()
        self.read, self.up, self.down, self.out = (
            nn.Linear(i, o, bias=False) for i, o in ((6, 8), (8, 12), (12, 8), (8, 3))
        )

    def forward(self, x):
        h = self.read(x)
        h = h + self.down(F.gelu(self.up(F.rms_norm(h, (8,)))))
        return self.out(F.rms_norm(h, (8,)))


def test_rotations_are_undone():
    torch.manual_seed(0)
    a = Rotated()
    objective = lw.Objective(a, MLP.samples(), loss=F.cross_entropy)
    spec = derive(a, MLP.samples()[0])
    assert Level.ORTHOGONAL in {group.level for group in spec.groups.values()}
    b = spec.apply(spec.random(1), a)
    found = match_activations(spec, State.of(a), b, objective)
    assert apart(State.of(a), spec.apply(found.element, b)) < 2e-6


def test_general_linear_groups_are_left_to_weights():
    torch.manual_seed(0)
    a = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 3))
    objective, spec = lw.Objective(a, MLP.samples(), loss=F.cross_entropy), derive(a, MLP.samples()[0])
    assert {group.level for group in spec.groups.values()} == {Level.GENERAL}
    assert carriers(spec, State.of(a), objective) == {}
    b = spec.apply(spec.random(1), a)
    found = match_activations(spec, State.of(a), b, objective)
    assert apart(State.of(a), spec.apply(found.element, b)) < 2e-6


def test_a_layer_that_torch_would_fuse_is_seen_into():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Linear(3, 8), layer, nn.Flatten(), nn.Linear(16, 3)).eval()
    objective, spec = lw.Objective(model, MLP.samples(), loss=F.cross_entropy), derive(model, MLP.samples()[0][:4])
    assert carriers(spec, State.of(model), objective)["2.linear1"]


class InPlace(nn.Sequential):
    def forward(self, x):
        return super().forward(x.mul_(1.5))


def test_dead_units_and_models_that_write_into_their_input():
    torch.manual_seed(0)
    a = InPlace(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    with torch.no_grad():
        a[0].weight[2], a[0].bias[2] = 0, -9  # never more than 0, and the same for all examples
    objective, spec = lw.Objective(a, MLP.samples(), loss=F.cross_entropy), derive(a, MLP.samples()[0])
    assert next(iter(spec.groups.values())).level is Level.SCALED
    before = objective.data.batches[0][0].clone()
    b = spec.apply(spec.random(1), a)
    found = match_activations(spec, State.of(a), b, objective)
    assert torch.equal(objective.data.batches[0][0], before)
    assert align(a, b, objective, "activations").change < 1e-12
    back = spec.apply(found.element, b).parameters["0.weight"]
    torch.testing.assert_close(back, a[0].weight, rtol=1e-5, atol=1e-6)


def test_statistics_are_numpy_s():
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (4, 50)), rng.normal(-1, 0.1, (4, 50))
    x[3] = 0
    parts = [Moments.of(torch.as_tensor(x[:, i : i + 17]), torch.as_tensor(y[:, i : i + 17])) for i in (0, 17, 34)]
    sums = sum(parts, Moments.zero(4))
    size = np.linalg.norm(x) * np.linalg.norm(y) / 4
    np.testing.assert_allclose(sums.similarity(Level.ORTHOGONAL), x @ y.T / size, rtol=1e-12)
    norms = np.outer(np.linalg.norm(x[:3], axis=1), np.linalg.norm(y, axis=1))
    np.testing.assert_allclose(sums.similarity(Level.SCALED)[:3], x[:3] @ y.T / norms, rtol=1e-12)
    assert not sums.similarity(Level.PERMUTATION)[3].any()
    assert float(Moments.of(*[torch.as_tensor(x)] * 2).similarity(Level.ORTHOGONAL).trace()) == pytest.approx(4)


def test_all_data_count_whatever_their_batches():
    x, y = MLP.samples()
    a, b = of(MLP, 0), of(MLP, 1)
    whole = lw.Objective(MLP.model(), (x, y), loss=F.cross_entropy)
    parts = lw.Objective(MLP.model(), [(x[:5], y[:5]), (x[5:], y[5:])], loss=F.cross_entropy)
    first, second = (match_activations(derived(MLP), a, b, objective) for objective in (whole, parts))
    assert first.trace == pytest.approx(second.trace)
    doubled = lw.Objective(MLP.model(), (torch.cat([x] * 20), torch.cat([y] * 20)), loss=F.cross_entropy)  # 820: chunks
    assert match_activations(derived(MLP), a, b, doubled).trace == pytest.approx(first.trace)


def test_similarity_rises_and_align_uses_it():
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    found = align(a, b, objective, "activations")
    assert found.method == "activations"
    assert found.change < 1e-12
    assert found.trace[1] < found.trace[0]
    assert same(found.state.tensors, align(a, b, objective, "activations", seed=5).state.tensors)


def test_nothing_is_touched_and_progress_is_told():
    objective, a, b = CNN.objective(), CNN.model(0), CNN.model(1)
    before = {i: everything_about(model) for i, model in enumerate((objective.module, a, b))}
    state, told = torch.get_rng_state(), []
    with torch.no_grad():
        align(a, b, objective, "activations", progress=lambda done, total: told.append((done, total)))
        assert not torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert same(before, {i: everything_about(model) for i, model in enumerate((objective.module, a, b))})
    assert told == [(1, 1)]
