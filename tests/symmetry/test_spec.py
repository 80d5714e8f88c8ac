"""Groups and their action, against dense matrices built with kron and block_diag."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lwidgets.parameters import State
from lwidgets.symmetry import Element, Factor, Group, Level, Matrix, Permutation, Spec, Sum, blocks
from tests.models import CASES, everything_about, same

LEVELS = tuple(Level)
FREE = tuple(level for level in LEVELS if level is not Level.FIXED)


def within(matrix: Tensor, level: Level) -> bool:
    """Whether a dense invertible matrix is in a level's group, from the definition."""
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    one_each = bool((((matrix != 0).sum(0) == 1) & ((matrix != 0).sum(1) == 1)).all())
    return {
        Level.GENERAL: True,
        Level.ORTHOGONAL: torch.allclose(matrix @ matrix.T, eye),
        Level.SCALED: one_each and bool((matrix >= 0).all()),
        Level.SIGNED: one_each and bool((matrix.abs().sum(0) == 1).all()),
        Level.PERMUTATION: one_each and bool(((matrix == 0) | (matrix == 1)).all()),
        Level.FIXED: torch.equal(matrix, eye),
    }[level]


def test_a_level_is_within_another_exactly_if_its_matrices_are():
    for a, b in itertools.product(LEVELS, LEVELS):
        matrices = [Group("g", 5, a).random(seed).matrix for seed in range(3)]
        assert (a <= b) == all(within(m, b) for m in matrices), (a, b)


def test_meet_is_the_largest_level_within_both():
    for a, b in itertools.product(LEVELS, LEVELS):
        meet = a.meet(b)
        assert meet <= a
        assert meet <= b
        assert all(c <= meet for c in LEVELS if c <= a and c <= b)


@pytest.mark.parametrize("level", FREE)
def test_random_elements_are_reproducible_far_from_the_identity_and_well_conditioned(level):
    group = Group("g", 9, level)
    matrix = group.random(3).matrix
    assert torch.equal(matrix, group.random(3).matrix)
    assert not torch.equal(matrix, group.random(4).matrix)
    assert not torch.equal(matrix, Group("other", 9, level).random(3).matrix)
    assert (matrix - torch.eye(9)).norm() > 1
    assert torch.linalg.cond(matrix) < 2.8
    if level in (Level.SCALED, Level.SIGNED):
        assert len(matrix[matrix != 0].unique()) > 1
    pairs = [Group("g", 2, level).random(seed, copies=3).matrix for seed in range(4)]
    assert all((matrix - torch.eye(2)).norm() > 0 for pair in pairs for matrix in pair)


def a_spec(stream: Level, inner: Level, head: Level, gate: Level) -> Spec:
    """A bit of everything: duals, heads with a matrix each, a sum of two parts and a fixed one, a product."""
    groups = [Group("x", 4, stream), Group("h", 3, inner), Group("heads", 2), Group("d", 3, head, copies="heads")]
    groups.append(Group("g", 2, gate))
    spec = Spec.from_axes(
        groups,
        {
            "in.weight": ("x", None),
            "up.weight": ("h", "x*"),
            "up.bias": ("h",),
            "down.weight": ("x", "h*"),
            "v.weight": (("heads", "d"), "x*"),
            "o.weight": ("x", ("heads", "d*")),
            "deep.weight": ("heads", "x*", "d"),
            "flat.weight": (None, (5, "g*")),
            "square.weight": (("heads", "d"), ("heads", "d*")),
        },
        aliases={"tied.weight": "in.weight"},
    )
    cat = Sum(((Factor("x", 4, True),), (Factor(None, 3),), (Factor("heads", 2), Factor("d", 3, True))))
    axes = {**spec.axes, "cat.weight": ((Factor("h", 3),), (cat,)), "cat.bias": ((cat,),)}
    return Spec(spec.groups, axes, spec.aliases)


SHAPES = {
    "in.weight": (4, 7),
    "up.weight": (3, 4),
    "up.bias": (3,),
    "down.weight": (4, 3),
    "v.weight": (6, 4),
    "o.weight": (4, 6),
    "deep.weight": (2, 4, 3),
    "flat.weight": (2, 10),
    "square.weight": (6, 6),
    "cat.weight": (3, 13),
    "cat.bias": (13,),
    "free.weight": (2, 3),
    "tied.weight": (4, 7),
}


def a_state(seed: int) -> State:
    generator = torch.Generator().manual_seed(seed)
    drawn = {n: torch.randn(shape, generator=generator, dtype=torch.float64) for n, shape in SHAPES.items()}
    drawn["tied.weight"] = drawn["in.weight"]
    return State(drawn, {"count": torch.tensor(3)})


def dense(spec: Spec, element: Element, axis, size: int) -> Tensor:
    """The matrix by which an element acts on an axis, from kron and block_diag."""
    if not axis:
        return torch.eye(size, dtype=torch.float64)
    if isinstance(axis[0], Sum):
        return torch.block_diag(
            *[dense(spec, element, part, sum(f.size for f in part) or 1) for part in axis[0].parts[:2]],
            dense(spec, element, axis[0].parts[2], 6),
        )
    matrices = {}
    for factor in axis:
        value = element.values.get(factor.group)
        matrix = torch.eye(factor.size, dtype=torch.float64) if value is None else value.matrix
        matrices[factor.group] = torch.linalg.inv(matrix).mT if factor.dual else matrix
    if len(axis) == 1:
        return matrices[axis[0].group]
    first, second = (matrices[factor.group] for factor in axis)
    if second.ndim == 3:  # one matrix a head, after the heads were permuted
        return torch.block_diag(*second) @ torch.kron(first, torch.eye(axis[1].size, dtype=torch.float64))
    return torch.kron(first, second)


specs = st.builds(a_spec, *[st.sampled_from(FREE)] * 4)
seeds = st.integers(0, 2**20)


def close(a: State, b: State) -> None:
    assert a.tensors.keys() == b.tensors.keys()
    for name in a.tensors:
        torch.testing.assert_close(a.tensors[name], b.tensors[name], rtol=1e-9, atol=1e-9, msg=name)


@settings(max_examples=30, deadline=None)
@given(specs, seeds)
def test_acts_as_dense_matrices_do(spec, seed):
    element, state = spec.random(seed), a_state(seed)
    moved = spec.apply(element, state)
    for name, tensor in state.parameters.items():
        wanted = tensor
        for dim, axis in enumerate(spec.axes.get(spec.aliases.get(name, name), ())):
            if name == "deep.weight" and dim == 2:  # its heads are another dimension
                value = element.values["d"]
                wanted = torch.stack([w @ m.T for w, m in zip(wanted, value.matrix, strict=True)])
            else:
                matrix = dense(spec, element, axis, tensor.shape[dim])
                wanted = torch.tensordot(matrix, wanted, dims=([1], [dim])).movedim(0, dim)
        torch.testing.assert_close(moved.parameters[name], wanted, rtol=1e-9, atol=1e-9, msg=name)
    assert torch.equal(moved.parameters["tied.weight"], moved.parameters["in.weight"])
    assert moved.parameters["free.weight"] is state.parameters["free.weight"]
    assert moved.buffers["count"] is state.buffers["count"]


@settings(max_examples=30, deadline=None)
@given(specs, seeds)
def test_is_a_group_that_acts(spec, seed):
    f, g, h = (spec.random(seed + i) for i in range(3))
    state = a_state(seed)
    close(spec.apply(g.after(h), state), spec.apply(g, spec.apply(h, state)))
    close(spec.apply(f.after(g).after(h), state), spec.apply(f.after(g.after(h)), state))
    close(spec.apply(g.inverse, spec.apply(g, state)), state)
    close(spec.apply(g, spec.apply(g.inverse, state)), state)
    close(spec.apply(spec.identity(), state), state)
    close(spec.apply(g.after(spec.identity()), state), spec.apply(spec.identity().after(g), state))


@settings(max_examples=30, deadline=None)
@given(specs, seeds, st.sets(st.sampled_from(["x", "h", "heads", "d", "g"])))
def test_groups_left_out_of_an_element_are_identities(spec, seed, missing):
    full, state = spec.random(seed), a_state(seed)
    part = Element(spec.groups, {n: v for n, v in full.values.items() if n not in missing})
    filled = Element(spec.groups, {**part.values, **{n: spec.groups[n].identity(spec.copies(n)) for n in missing}})
    close(spec.apply(part, state), spec.apply(filled, state))
    other = spec.random(seed + 1)
    close(spec.apply(part.after(other), state), spec.apply(filled.after(other), state))
    close(spec.apply(other.after(part), state), spec.apply(other.after(filled), state))
    close(spec.apply(part.inverse, state), spec.apply(filled.inverse, state))


@settings(max_examples=30, deadline=None)
@given(specs, seeds)
def test_what_goes_in_undoes_what_comes_out(spec, seed):
    state, drawn = a_state(seed), spec.random(seed).values
    for out, into, between in (
        ("in.weight", "up.weight", {"x"}),
        ("up.weight", "down.weight", {"h"}),
        ("v.weight", "o.weight", {"heads", "d"}),
    ):
        element = Element(spec.groups, {name: drawn[name] for name in between})
        moved = spec.apply(element, state).parameters
        assert not torch.allclose(moved[out], state.parameters[out])
        before, after = (tensors[into] @ tensors[out] for tensors in (state.parameters, moved))
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_blocks_are_views_that_cover_the_tensor_once():
    spec = a_spec(*[Level.GENERAL] * 4)
    for name, shape in SHAPES.items():
        axes = spec.axes.get(name, ((),) * len(shape))
        tensor = torch.zeros(shape)
        for view, factors in blocks(tensor, axes):
            assert view.ndim == len(factors)
            assert all(f is None or f.size == n for f, n in zip(factors, view.shape, strict=True))
            view += 1
        assert torch.equal(tensor, torch.ones(shape)), name


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.name)
def test_leaves_the_model_alone_and_keeps_dtypes(case):
    model = case.model()
    before = everything_about(model)
    name, weight = next(iter(model.named_parameters()))
    spec = Spec.from_axes([Group("h", len(weight), Level.GENERAL)], {name: ("h", *[None] * (weight.ndim - 1))})
    moved = spec.apply(spec.random(0), model)
    assert same(before, everything_about(model))
    assert moved.parameters[name].dtype == torch.float32
    assert not torch.allclose(moved.parameters[name], weight)
    state = State.of(model)
    spec.apply(spec.random(0), state)
    assert same(state.tensors, State.of(model).tensors)
    assert same(spec.apply(spec.random(0), model.state_dict()).tensors, moved.tensors)


def test_restrict_meets_every_group():
    spec = a_spec(Level.GENERAL, Level.SCALED, Level.ORTHOGONAL, Level.SIGNED).restrict(Level.ORTHOGONAL)
    levels = {name: group.level for name, group in spec.groups.items()}
    assert levels == {
        "x": Level.ORTHOGONAL,
        "h": Level.PERMUTATION,
        "heads": Level.PERMUTATION,
        "d": Level.ORTHOGONAL,
        "g": Level.SIGNED,
    }
    assert not spec.restrict(Level.FIXED).random(0).values


def test_table_names_group_size_level_places_and_reason():
    lines = a_spec(Level.GENERAL, Level.SCALED, Level.ORTHOGONAL, Level.SIGNED).table().splitlines()
    assert lines[0].split() == ["group", "size", "level", "acts", "on", "why"]
    assert lines[4].split("  ")[0] == "d"
    for cell in ("3 per heads", "orthogonal", "v.weight[0], o.weight[1]*"):
        assert cell in lines[4]
    assert "and 4 more" in lines[4]
    assert lines[-1] == "not certified"
    assert all(line.index("given") == lines[1].index("given") for line in lines[1:6])


def test_acts_on_lists_dimensions_and_sides():
    spec = a_spec(*[Level.GENERAL] * 4)
    assert spec.acts_on("h") == (
        ("up.weight", 0, False),
        ("up.bias", 0, False),
        ("down.weight", 1, True),
        ("cat.weight", 0, False),
    )


@pytest.mark.parametrize(
    ("level", "value", "message"),
    [
        (Level.PERMUTATION, Matrix(torch.eye(3).double()), "a matrix, where the level is permutation"),
        (Level.ORTHOGONAL, Matrix(2 * torch.eye(3).double()), "a matrix that is not orthogonal"),
        (Level.GENERAL, Matrix(torch.eye(2).double()), r"a matrix of shape \(2, 2\), not \(3, 3\)"),
        (Level.GENERAL, Matrix(torch.full((3, 3), torch.nan).double()), "a matrix that is not finite"),
        (Level.PERMUTATION, Permutation(torch.tensor([0, 1, 1])), "indices that are not a permutation"),
        (Level.PERMUTATION, Permutation(torch.arange(4)), r"indices of shape \(4,\), not \(3,\)"),
        (Level.SIGNED, Permutation(torch.arange(3), torch.tensor([1.0, 2, 1])), "scales, where the level is signed"),
        (Level.SCALED, Permutation(torch.arange(3), torch.tensor([1.0, -1, 1])), "scales, where the level is positive"),
        (Level.GENERAL, Permutation(torch.arange(3), torch.zeros(3)), "scales that are zero"),
        (Level.FIXED, Permutation(torch.tensor([1, 0, 2])), "a permutation, where the level is fixed"),
    ],
)
def test_refuses_values_outside_their_group(level, value, message):
    with pytest.raises(ValueError, match=f"value of group 'h' must be in it.*{message}"):
        Element({"h": Group("h", 3, level)}, {"h": value})


def test_refuses_what_does_not_fit_together():
    with pytest.raises(ValueError, match="values must belong to groups of the spec, got 'k'"):
        Element({"h": Group("h", 3)}, {"k": Permutation(torch.arange(3))})
    with pytest.raises(ValueError, match=r"axes of 'w' must name groups of their size, got 'k' .*h \(3\)"):
        Spec.from_axes([Group("h", 3)], {"w": ("k",)})
    with pytest.raises(ValueError, match=r"group 'd' must have copies for a permutation group.*got 'h'"):
        Spec.from_axes([Group("h", 3, Level.SCALED), Group("d", 2, copies="h")], {})
    with pytest.raises(ValueError, match="axes of 'w' must have 'h' beside 'd'"):
        Spec.from_axes([Group("h", 3), Group("d", 2, copies="h")], {"w": ("d",)})
    spec = Spec.from_axes([Group("h", 3)], {"weight": ("h", None)})
    with pytest.raises(ValueError, match=r"tensor 'weight' must have shape \(3, 5\), got \(4, 5\)"):
        spec.apply(spec.random(0), nn.Linear(5, 4))


def test_repr_is_short():
    spec = a_spec(*[Level.GENERAL] * 4)
    assert repr(spec) == "Spec(5 groups on 11 tensors, not certified)"
    assert repr(spec.random(0)) == "Element(x, h, heads, d, g)"
    assert repr(spec.identity()) == "Element(identity)"
