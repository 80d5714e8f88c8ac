"""Weight matching against brute force, planted elements, and what it must never do."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.parameters import State
from lwidgets.symmetry import Element, Group, Level, Permutation, Spec
from lwidgets.symmetry.derive import derive
from lwidgets.symmetry.matching import (
    Descent,
    Pair,
    Unit,
    _lowest,
    assignment,
    best,
    gathered,
    match_weights,
    solve,
    units,
    weight_blocks,
)
from lwidgets.symmetry.spec import Factor
from tests.models import CASES, MLP, same
from tests.symmetry.test_spec import FREE, a_spec, a_state, seeds, specs

ISOMETRIES = (Level.PERMUTATION, Level.SIGNED, Level.ORTHOGONAL)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(a, b):
    return sum(float((t.double() - b.parameters[n].double()).square().sum()) for n, t in a.parameters.items()) ** 0.5


def apart(a, b):
    return max(float((t - b.parameters[n]).abs().max()) for n, t in a.parameters.items())


def barrier(objective, a, b):
    return lw.sample(objective, lw.Line(a, b), resolution=25, tolerance=0).barrier().value


@pytest.mark.parametrize("n", range(1, 8))
def test_assignments_are_the_best_of_all(n):
    scores = noise(3, n, n, seed=n)
    found = assignment(scores)
    for matrix, columns in zip(scores, found, strict=True):
        every = [sum(matrix[i, p[i]] for i in range(n)) for p in itertools.permutations(range(n))]
        assert float(matrix[torch.arange(n), columns].sum()) == pytest.approx(float(max(every)))


def monomials(n, entries):
    """Every permutation matrix with every choice of entries."""
    for order in itertools.permutations(range(n)):
        for values in itertools.product(entries, repeat=n):
            matrix = torch.zeros(n, n, dtype=torch.float64)
            matrix[torch.arange(n), torch.tensor(order)] = torch.tensor(values, dtype=torch.float64)
            yield matrix


def left(x, y, dual_x, dual_y, s):
    """The sum of squares that S leaves, written out."""
    return float((x - s @ y).square().sum() + (dual_x - torch.linalg.inv(s).T @ dual_y).square().sum())


def told(group, x, y, dual_x, dual_y):
    """Evidence for one group from a covariant and a dual pair of matrices."""
    pairs = [
        Pair(x, y, (Factor(group.name, group.size), None)),
        Pair(dual_x.T, dual_y.T, (None, Factor(group.name, group.size, dual=True))),
    ]
    return gathered(Unit(group), pairs)[group.name]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", FREE)
def test_what_a_level_is_solved_by_leaves_the_least(level, seed):
    n = 4
    x, y, dual_x, dual_y = (noise(n, 6, seed=4 * seed + i) * (1 + 3 * (i == 3)) for i in range(4))
    if level is Level.GENERAL:  # a local minimum that is clear enough to be reached in one solution
        planted = Group("g", n, level).random(seed).matrix
        x, dual_x = planted @ y + 0.2 * x, torch.linalg.inv(planted).T @ dual_y + 0.2 * dual_x
    matrix, found = torch.eye(n, dtype=torch.float64), left(x, y, dual_x, dual_y, torch.eye(n, dtype=torch.float64))
    for _ in range(20 if level is Level.GENERAL else 1):
        before, place = found, (x, matrix @ y, dual_x, torch.linalg.inv(matrix).T @ dual_y)
        costs, value = solve(level, told(Group("g", n, level), *place))
        matrix = value.matrix[0] @ matrix
        found = left(x, y, dual_x, dual_y, matrix)
        assert found <= before * (1 + 1e-9) or level is Level.SCALED
    constant = float(x.square().sum() + dual_x.square().sum())
    if level in ISOMETRIES:  # their cost leaves out the norm of b too
        constant += float(y.square().sum() + dual_y.square().sum())
    assert float(costs[0]) + constant == pytest.approx(found, rel=1e-9)
    if level in (Level.PERMUTATION, Level.SIGNED):
        signs = (1.0,) if level is Level.PERMUTATION else (1.0, -1.0)
        assert found == pytest.approx(min(left(x, y, dual_x, dual_y, m) for m in monomials(n, signs)))
    elif level is Level.ORTHOGONAL:
        turned, _ = scipy.linalg.orthogonal_procrustes(torch.hstack([y, dual_y]).T, torch.hstack([x, dual_x]).T)
        assert found == pytest.approx(left(x, y, dual_x, dual_y, torch.as_tensor(turned.T)))
    elif level is Level.SCALED:
        scales = torch.linspace(-6, 6, 4001, dtype=torch.float64).exp()[:, None]
        cost = [
            [
                ((x[i] - scales * y[j]).square() + (dual_x[i] - dual_y[j] / scales).square()).sum(1).min().item()
                for j in range(n)
            ]
            for i in range(n)
        ]
        least = min(sum(cost[i][p[i]] for i in range(n)) for p in itertools.permutations(range(n)))
        assert found == pytest.approx(least, rel=1e-4)
        assert found < least + 1e-9
    else:
        for i in range(40):
            near = matrix + 1e-3 * noise(n, n, seed=i)
            assert found < left(x, y, dual_x, dual_y, near)


def test_a_step_over_invertible_matrices_is_never_further_than_none_or_a_rotation_and_mostly_closer():
    group, eye, closer = Group("g", 3, Level.GENERAL), torch.eye(3, dtype=torch.float64), []
    for seed in range(200):
        sizes = 10 ** noise(4, seed=10**6 + seed)  # so unlike that a full step often goes too far
        place = [noise(3, 5, seed=4 * seed + i) * sizes[i] for i in range(4)]
        evidence = told(group, *place)
        starts = [eye, solve(Level.ORTHOGONAL, evidence)[1].matrix[0]]
        before = min(left(*place, start) for start in starts)
        after = left(*place, solve(Level.GENERAL, evidence)[1].matrix[0])
        assert after <= before * (1 + 1e-12)
        closer.append(after < before * (1 - 1e-3))
    assert sum(closer) > 190


def test_a_step_towards_nothing_stays_well_conditioned():
    y, none = noise(3, 5, seed=1), torch.zeros(3, 5, dtype=torch.float64)
    matrix = solve(Level.GENERAL, told(Group("g", 3, Level.GENERAL), none, y, none, none))[1].matrix
    assert torch.linalg.cond(matrix).max() < 10


def test_of_two_minima_over_the_scale_the_lower_is_found():
    p, q = noise(2, 2000, seed=1) * (4 * torch.rand(2, 2000, dtype=torch.float64)).exp()

    def cost(x):
        return x**2 - 2 * p * x + x**-2 - 2 * q / x

    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64).exp()
    least = torch.stack([cost(x) for x in grid]).amin(0)
    assert (cost(_lowest(p, q)) <= least + 1e-9 * (1 + least.abs())).all()


@settings(max_examples=15)
@given(specs, seeds)
def test_evidence_adds_up_to_the_sum_of_squares(spec, seed):
    pairs, _ = weight_blocks(spec, a_state(seed), a_state(seed + 1))
    for unit in units(spec):
        alone = [
            pair
            for pair in pairs
            if pair.groups & unit.names and sum(f is not None and f.group == unit.outer.name for f in pair.factors) < 2
        ]
        element = Element(spec.groups, {n: v for n, v in spec.random(seed).values.items() if n in unit.names})
        still = Element(spec.groups, {})

        def square(element, alone=alone):
            return Descent(spec, alone, element).square

        found = gathered(unit, alone)
        change = 0.0
        for group in (unit.outer, *unit.inner):
            if group.name not in found:
                continue
            matrix = element.values[group.name].matrix
            if group.copies is None:
                matrix = matrix[None]
                one, cross, gram = torch.zeros(1, dtype=torch.int64), found[group.name].cross, found[group.name].gram
            else:
                order = element.values[unit.outer.name].indices
                copies = len(order)
                one = torch.arange(copies) * copies + order
                cross, gram = found[group.name].cross[:, one], found[group.name].gram[:, one]
            both = torch.stack([matrix, torch.linalg.inv(matrix).mT])
            change += float((both * (both @ gram - 2 * cross)).sum())
            if group.level in ISOMETRIES:
                assert not gram.any()
                sides = [p.b for p in alone if group.name in p.groups]
                inner = any(g.name in p.groups for p in alone for g in unit.inner)
                if group is unit.outer and inner:
                    sides = [p.b for p in alone if not any(g.name in p.groups for g in unit.inner)]
                change += sum(float(b.square().sum()) for b in sides)
        constant = sum(float(p.a.square().sum()) for p in alone)
        assert constant + change == pytest.approx(square(element), rel=1e-9)
        assert square(still) == pytest.approx(sum(float((p.a - p.b).square().sum()) for p in alone))


@settings(max_examples=20)
@given(specs, seeds)
def test_distance_falls_and_is_the_element_s(spec, seed):
    a, b = a_state(seed), a_state(seed + 1)
    found = match_weights(spec, a, b, restarts=1)
    assert all(later <= earlier for earlier, later in itertools.pairwise(found.trace))
    one = {name: t for name, t in a.parameters.items() if name != "tied.weight"}  # it counts once
    assert found.trace[-1] == pytest.approx(distance(State(one), spec.apply(found.element, b)))
    assert found.trace[-1] <= min(found.restarts) * (1 + 1e-12)
    assert found.trace[-1] ** 2 >= found.trace[-2] ** 2 * (1 - 1e-4)
    assert found.trace[-1] <= distance(State(one), b) * (1 + 1e-12)


@settings(max_examples=15)
@given(specs, seeds)
def test_a_planted_element_of_every_level_is_undone(spec, seed):
    a = a_state(seed)
    b = spec.apply(spec.random(seed), a)
    found = match_weights(spec, a, b, restarts=6, seed=seed)
    assert apart(a, spec.apply(found.element, b)) < 1e-5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_was_planted_in_a_trained_model_is_undone(case):
    objective, a = case.objective(), case.model()
    inputs = case.samples() if case.by_model else case.samples()[0]
    spec = derive(a, inputs[:4])
    b = spec.apply(spec.random(5), a)
    found = match_weights(spec, State.of(a), b)
    back = spec.apply(found.element, b)
    assert apart(State.of(a), back) < 5e-7
    if case.name != "cnn":  # four channels, and BatchNorm recalibrated between models
        assert barrier(objective, a, b) > 1e-2
    assert barrier(objective, a, back) < 1e-6


@pytest.mark.parametrize("width", [16, 64, 512])
def test_a_planted_permutation_of_an_mlp_is_undone_to_the_last_bit(width):
    objective, a, _ = lw.demo.digits(hidden=(width, width), steps=40)
    spec = derive(a, torch.zeros(2, 64)).restrict(Level.PERMUTATION)
    b = spec.apply(spec.random(1), a)
    found = match_weights(spec, State.of(a), b)
    assert apart(State.of(a), spec.apply(found.element, b)) == 0
    assert found.restarts == (0.0,)
    assert barrier(objective, a, spec.apply(found.element, b)) < 1e-6 < barrier(objective, a, b)


class Rotating(nn.Module):
    """A transformer whose stream only norms without scales touch: it may be rotated, heads mixed, units permuted."""

    def __init__(self):
        super().__init__()
        self.read, self.up, self.down = nn.Linear(3, 8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        h = self.read(x.unflatten(1, (2, 3)))
        n = F.rms_norm(h, (8,))
        q, k, v = (part(n).unflatten(-1, (2, 4)).transpose(1, 2) for part in (self.q, self.k, self.v))
        h = h + self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        h = h + self.down(F.gelu(self.up(F.rms_norm(h, (8,)))))
        return self.out(F.rms_norm(h, (8,)).mean(1))


def test_rotations_heads_and_units_planted_in_a_transformer_are_undone_and_permutations_do_not_do():
    torch.manual_seed(0)
    a, (x, y) = Rotating(), MLP.samples()
    optimizer = torch.optim.Adam(a.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(a(x), y).backward()
        optimizer.step()
    objective, spec = lw.Objective(a, (x, y), loss=F.cross_entropy), derive(a, x[:4])
    assert {g.level for g in spec.groups.values()} == {Level.ORTHOGONAL, Level.PERMUTATION, Level.GENERAL}
    b = spec.apply(spec.random(2), a)
    back = spec.apply(match_weights(spec, State.of(a), b).element, b)
    assert apart(State.of(a), back) < 1e-6
    assert barrier(objective, a, back) < 1e-6
    rigid = spec.restrict(Level.PERMUTATION)
    assert barrier(objective, a, rigid.apply(match_weights(rigid, State.of(a), b).element, b)) > 0.05


def test_other_models_come_closer_than_they_were():
    for case in CASES:
        a, b = (State.of(case.model(seed)) for seed in (0, 1))
        spec = derive(case.model(), (case.samples() if case.by_model else case.samples()[0])[:4])
        found = match_weights(spec, a, b)
        assert found.trace[-1] < 0.95 * found.trace[0]


def residual(n, level, seed):
    """x + W x: one group on both axes of a tensor, and nothing else but a read-out that hardly speaks."""
    spec = Spec.from_axes([Group("x", n, level)], {"w": ("x", "x*"), "out": (None, "x*")})
    return spec, State({"w": noise(n, n, seed=seed), "out": 0.05 * noise(2, n, seed=seed + 1)})


@pytest.mark.parametrize("seed", range(6))
def test_a_group_on_two_axes_is_a_quadratic_assignment_and_never_gets_worse(seed):
    spec, a = residual(5, Level.PERMUTATION, seed)
    _, b = residual(5, Level.PERMUTATION, seed + 100)
    found = match_weights(spec, a, b, restarts=20, seed=seed)
    every = [
        distance(a, spec.apply(Element(spec.groups, {"x": Permutation(torch.tensor(p))}), b))
        for p in itertools.permutations(range(5))
    ]
    assert found.trace[-1] >= min(every) - 1e-12
    assert found.trace[-1] <= np.quantile(every, 0.1)
    for k in range(8):  # a step that the linear part proposes may go up, and is refused
        descent = Descent(spec, weight_blocks(spec, a, b)[0], spec.random(k))
        before = descent.square
        taken = descent.step(descent.units[0])
        assert descent.square < before if taken else descent.square == before


def test_some_linearised_steps_go_up():
    refused = 0
    for seed in range(20):
        spec, a = residual(5, Level.PERMUTATION, seed)
        pairs, _ = weight_blocks(spec, a, residual(5, Level.PERMUTATION, seed + 100)[1])
        descent = Descent(spec, pairs, spec.identity())
        (unit,) = descent.units
        proposed = Descent(spec, pairs, Element(spec.groups, best(unit, gathered(unit, pairs))))
        refused += proposed.square > descent.square
        descent.step(unit)
        assert descent.square == min(descent.square, proposed.square)
    assert refused > 0


def test_biases_decide_where_weights_do_not():
    spec = Spec.from_axes([Group("h", 4)], {"w": ("h", None), "bias": ("h",)})
    a = State({"w": torch.ones(4, 2), "bias": torch.tensor([1.0, 2.0, 3.0, 4.0])})
    b = State({"w": torch.ones(4, 2), "bias": torch.tensor([3.0, 1.0, 4.0, 2.0])})
    assert match_weights(spec, a, b).element.values["h"].indices.tolist() == [1, 3, 0, 2]


def test_fixed_tensors_are_where_it_starts_from():
    """A residual stream with an embedding of two columns, which the identity as a start hardly ever sees through."""
    d, h = 32, 128
    groups = [Group("x", d), Group("h0", h), Group("h1", h)]
    axes = {"up0": ("h0", "x"), "up1": ("h1", "x"), "down0": ("x", "h0"), "down1": ("x", "h1"), "in": ("x", None)}
    shapes = {"up0": (h, d), "up1": (h, d), "down0": (d, h), "down1": (d, h), "in": (d, 2)}
    spec = Spec.from_axes(groups, axes)
    found = []
    for seed in range(5):
        a = State({name: noise(*shape, seed=10 * seed + i) for i, (name, shape) in enumerate(shapes.items())})
        found.append(match_weights(spec, a, spec.apply(spec.random(seed), a), restarts=0).restarts)
    assert all(min(runs) == 0 for runs in found)
    assert any(runs[0] > 0 for runs in found)


def test_heads_of_general_linear_freedom_are_matched_by_what_they_can_reach():
    spec = Spec.from_axes(
        [
            Group("heads", 5),
            Group("qk", 3, Level.GENERAL, copies="heads"),
            Group("vo", 3, Level.GENERAL, copies="heads"),
        ],
        {
            "q": (("heads", "qk"), None),
            "k": (("heads", "qk*"), None),
            "v": (("heads", "vo"), None),
            "o": (None, ("heads", "vo*")),
        },
    )
    a = State({**{n: noise(15, 6, seed=i) for i, n in enumerate("qkv")}, "o": noise(6, 15, seed=4)})
    planted = spec.random(2)
    order = planted.values["heads"].indices
    assert not torch.equal(order, order.argsort())
    b = spec.apply(planted, a)
    (unit,) = units(spec)
    at_once = best(unit, gathered(unit, weight_blocks(spec, a, b)[0]))
    assert torch.equal(at_once["heads"].indices, planted.inverse.values["heads"].indices)
    found = match_weights(spec, a, b, restarts=0).element
    assert torch.equal(found.values["heads"].indices, planted.inverse.values["heads"].indices)
    for name in ("qk", "vo"):
        torch.testing.assert_close(found.values[name].matrix, planted.inverse.values[name].matrix, rtol=0, atol=1e-8)


def test_what_only_the_copies_carry_decides_among_them():
    spec = Spec.from_axes([Group("c", 3), Group("d", 2, copies="c")], {"w": (("c", "d"), None), "gate": ("c", None)})
    a = State({"w": torch.ones(6, 4), "gate": noise(3, 2)})
    b = State({"w": torch.ones(6, 4), "gate": a.parameters["gate"][[1, 2, 0]]})
    assert match_weights(spec, a, b, restarts=0).element.values["c"].indices.tolist() == [2, 0, 1]


def test_copies_that_do_not_permute_are_matched_one_by_one():
    spec = Spec.from_axes(
        [Group("parts", 3, Level.FIXED), Group("c", 4, copies="parts")], {"w": (("parts", "c"), None)}
    )
    a = State({"w": noise(12, 5)})
    b = spec.apply(spec.random(1), a)
    assert apart(a, spec.apply(match_weights(spec, a, b).element, b)) == 0
    rolled = State({"w": a.parameters["w"].roll(4, 0)})  # closer if they were permuted, which they may not be
    assert match_weights(spec, a, rolled).trace[-1] > 1


def test_the_counter_example_has_a_barrier_under_every_permutation():
    """Ainsworth et al., appendix A.6: x1 < 0 and x2 > 0, tested in opposite layers by two networks of 2 x 2 units."""

    def network(tested, passed):
        """First layer: relu of what is tested, and the other plus 1; second: whether that is above twenty times it."""
        model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double()
        weights = [[tested, passed], [[-20.0, 1.0], [0.0, 0.0]], [[400.0, 0.0]]]
        with torch.no_grad():
            for part, weight, bias in zip(model[::2], weights, [[0.0, 1.0], [-1.0, 0.0], [-1.0]], strict=True):
                part.weight.copy_(torch.tensor(weight))
                part.bias.copy_(torch.tensor(bias))
        return model

    x = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    y = ((x[:, 0] < 0) & (x[:, 1] > 0)).double()[:, None]
    a, b = network([1.0, 0.0], [0.0, 1.0]), network([0.0, -1.0], [-1.0, 0.0])
    objective = lw.Objective(a, (x, y), loss=lambda out, y: ((out > 0) != (y > 0)).double().mean())
    assert max(objective.measure(model)["loss"] for model in (a, b)) < 0.02
    spec = Spec.from_axes(
        [Group("1", 2), Group("2", 2)],
        {"0.weight": ("1", None), "0.bias": ("1",), "2.weight": ("2", "1"), "2.bias": ("2",), "4.weight": (None, "2")},
    )
    orders = [Permutation(torch.tensor(order)) for order in ([0, 1], [1, 0])]
    barriers = [
        barrier(objective, a, spec.apply(Element(spec.groups, {"1": first, "2": second}), b))
        for first, second in itertools.product(orders, orders)
    ]
    assert min(barriers) > 0.1
    found = match_weights(spec, State.of(a), State.of(b)).element
    assert barrier(objective, a, spec.apply(found, b)) in barriers


def test_the_same_seed_gives_the_same_and_nothing_is_touched():
    spec, a = a_spec(*[Level.ORTHOGONAL] * 4), a_state(0)
    b = a_state(1)
    before = everything(a, b)
    state = torch.get_rng_state()
    with torch.enable_grad():
        first, second = (match_weights(spec, a, b, seed=3) for _ in range(2))
        assert torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert same(before, everything(a, b))
    assert first.trace == second.trace
    for name, value in first.element.values.items():
        assert torch.equal(value.matrix, second.element.values[name].matrix)
    assert match_weights(spec, a, b, seed=4).restarts != first.restarts


def everything(*states):
    return {str(i): {n: t.clone() for n, t in state.tensors.items()} for i, state in enumerate(states)}


def test_a_run_starts_where_it_is_told_to():
    spec = a_spec(*[Level.PERMUTATION] * 4)
    a = a_state(0)
    b = spec.apply(spec.random(7), a)
    found = match_weights(spec, a, b, init=spec.random(7).inverse, restarts=0)
    assert found.trace[0] == 0
    assert found.restarts == (0.0,)


def test_progress_is_told_and_may_stop():
    spec, told_ = a_spec(*[Level.PERMUTATION] * 4), []
    match_weights(spec, a_state(0), a_state(1), progress=lambda done, total: told_.append((done, total)))
    assert told_ == sorted(told_)
    assert len({total for _, total in told_}) == 1
    assert told_[-1][0] == told_[-1][1]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        match_weights(spec, a_state(0), a_state(1), progress=stop)


def test_tensors_tied_twice_count_once_and_integers_not_at_all():
    spec = Spec.from_axes([Group("h", 3)], {"w": ("h", None)}, aliases={"tied": "w"})
    a = State({"w": noise(3, 2), "tied": noise(3, 2), "count": torch.tensor([1])})
    b = State({**a.parameters, "count": torch.tensor([5])})
    assert len(weight_blocks(spec, a, b)[0]) == 1
    assert match_weights(spec, a, b).trace[-1] == 0


def test_refuses_a_negative_number_of_restarts():
    with pytest.raises(ValueError, match=r"restarts must be at least 0, got -1\. Leave it out"):
        match_weights(Spec.from_axes([], {}), State({}), State({}), restarts=-1)


def test_of_groups_that_do_not_depend_on_each_other_each_has_its_best_run():
    names = [f"g{i}" for i in range(5)]
    axes = {f"{name}.w": (name, name) for name in names}  # both sides at once: many local minima
    spec = Spec.from_axes([Group(name, 7) for name in names], axes)
    a, b = (State({name: noise(7, 7, seed=k + 31 * i) for i, name in enumerate(axes)}) for k in (1, 2))
    together = match_weights(spec, a, b, restarts=4)
    alone = []
    for name in names:
        groups = {n: g if n == name else replace(g, level=Level.FIXED) for n, g in spec.groups.items()}
        own = (State({f"{name}.w": state.parameters[f"{name}.w"]}) for state in (a, b))
        alone.append(match_weights(replace(spec, groups=groups), *own, restarts=4).trace[-1])
    assert together.trace[-1] == pytest.approx(float(np.linalg.norm(alone)), rel=1e-3)
    assert together.trace[-1] < min(together.restarts) * (1 - 1e-3)  # no run was the best everywhere
    assert together.trace[-1] == pytest.approx(distance(a, spec.apply(together.element, b)))
    assert all(later <= earlier for earlier, later in itertools.pairwise(together.trace))
