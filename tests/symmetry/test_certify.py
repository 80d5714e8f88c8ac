"""Wrong specs are rejected, group by group; right ones are left as they are."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lwidgets.symmetry import Factor, Group, Level, Spec, Sum, certify, derive
from tests.models import everything_about, same
from tests.symmetry import architectures
from tests.symmetry.architectures import Net, weight

GENERAL, ORTHOGONAL, SCALED, SIGNED, PERMUTATION, FIXED = Level


def derived(make):
    torch.manual_seed(0)
    model, *inputs = make()
    return model, inputs, derive(model, *inputs, certify=False)


def with_levels(spec: Spec, **levels: Level) -> Spec:
    return replace(spec, groups={n: replace(g, level=levels.get(n, g.level)) for n, g in spec.groups.items()})


def kept(spec: Spec) -> dict[str, Level]:
    return {name: group.level for name, group in spec.groups.items()}


@pytest.mark.parametrize(
    ("activation", "level"),
    [
        (nn.Identity(), GENERAL),
        (nn.ReLU(), SCALED),
        (nn.Tanh(), SIGNED),
        (nn.Sigmoid(), PERMUTATION),
        (architectures.RMS(), ORTHOGONAL),
        (nn.LayerNorm(5, elementwise_affine=False), PERMUTATION),
        (nn.Softmax(-1), PERMUTATION),
    ],
    ids=str,
)
@pytest.mark.parametrize("claimed", [GENERAL, ORTHOGONAL, SCALED, SIGNED, PERMUTATION])
def test_a_level_that_is_too_high_is_lowered_to_the_one_that_holds(activation, level, claimed):
    model = nn.Sequential(nn.Linear(4, 5), activation, nn.Linear(5, 3)).eval()
    axes = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h*")}
    spec = certify(model, Spec.from_axes([Group("h", 5, claimed)], axes), torch.randn(6, 4))
    assert kept(spec) == {"h": claimed.meet(level)}
    if claimed <= level:
        assert spec.certificate.lowered == ()
    else:
        (low,) = spec.certificate.lowered
        assert (low.group, low.derived, low.kept) == ("h", claimed, claimed.meet(level))
        assert low.error > 1e-3
        assert f"h was derived as {claimed.value}, which changes outputs by" in spec.table()
        assert "random elements" in spec.groups["h"].reason
    assert spec.certificate.error < 1e-12


def test_only_what_is_wrong_is_lowered():
    model, inputs, spec = derived(architectures.resnet)
    wrong = with_levels(spec, **{"4.conv1": GENERAL, "5.conv2": SIGNED})
    checked = certify(model, wrong, *inputs)
    assert kept(checked) == kept(spec)
    assert [low.group for low in checked.certificate.lowered] == ["4.conv1", "5.conv2"]


def test_copies_that_are_not_independent_get_one_element():
    """Every head meets every other."""

    def forward(self, x):
        q = (x @ self.a).view(-1, 2, 2, 3)
        return torch.einsum("bthd,bsgd->bhgts", q, q).softmax(-1).sum((1, 2))

    model = Net(forward, a=weight(4, 6))
    groups = [Group("heads", 2), Group("d", 3, ORTHOGONAL, copies="heads")]
    spec = certify(model, Spec.from_axes(groups, {"a": (None, ("heads", "d"))}), torch.randn(8, 4))
    assert spec.groups["d"] == Group("d", 3, ORTHOGONAL, spec.groups["d"].reason)
    assert spec.groups["heads"].level is PERMUTATION
    assert [low.group for low in spec.certificate.lowered] == ["d"]


def test_outputs_that_are_not_numbers_any_more_are_a_change():
    model = Net(
        lambda self, x: x * self.a.sqrt() + self.b, a=nn.Parameter(torch.ones(4)), b=nn.Parameter(torch.ones(4))
    )
    spec = certify(model, Spec.from_axes([Group("h", 4, SIGNED)], {"a": ("h",)}), torch.randn(3, 4))
    assert spec.certificate.lowered[0].error == float("inf")
    assert spec.groups["h"].level is FIXED


def faults():
    """(what, architecture, how its spec is spoilt): each keeps all sizes right."""

    def without(name):
        return lambda axes: {n: own for n, own in axes.items() if n != name}

    def with_axes(**changes):
        return lambda axes: axes | {n.replace("__", "."): own for n, own in changes.items()}

    h = Factor("0", 6)
    yield "a bias is forgotten", architectures.mlp, without("0.bias")
    yield "a weight is forgotten", architectures.mlp, without("2.weight")
    yield "the wrong axis", architectures.mlp, with_axes(**{"0__weight": ((), (h,))})
    yield "another group of this size", architectures.mlp, with_axes(**{"2__weight": ((Factor("2", 6),),) * 2})
    yield "statistics stay", architectures.resnet, without("4.bn1.running_var")
    yield "a norm's shift stays", architectures.resnet, without("4.bn1.bias")
    yield "a residual is forgotten", architectures.resnet, without("3.conv2.weight")

    def sides(axes):
        q, k = Factor("q", 3), Factor("v", 3)
        heads = Factor("q.copies", 4)
        return axes | {"q.weight": ((heads, k), ()), "v.weight": ((heads, q), ())}

    yield "queries for values", architectures.separate, sides

    def reordered(axes):
        (packed,), *_ = axes["qkv.bias"]
        return axes | {"qkv.bias": ((Sum(packed.parts[::-1]),),)}

    yield "a bias packed in another order", architectures.packed_chunk, reordered

    def transposed(axes):
        out, into = axes["o.weight"]
        return axes | {"o.weight": (out, into[::-1])}

    yield "heads inside of features", architectures.separate, transposed


@pytest.mark.parametrize(("make", "spoil"), [fault[1:] for fault in faults()], ids=[fault[0] for fault in faults()])
def test_wrong_axes_are_rejected(make, spoil):
    model, inputs, spec = derived(make)
    assert certify(model, spec, *inputs).certificate.lowered == ()
    wrong = replace(spec, axes=spoil(dict(spec.axes)))
    checked = certify(model, wrong, *inputs)
    assert checked.certificate.lowered
    assert checked.certificate.error < 1e-10
    assert any(low.kept is FIXED for low in checked.certificate.lowered)


def test_zero_biases_and_fresh_statistics_hide_nothing():
    """At initialisation a bias of zero and a mean of zero are the same however they are permuted."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    nn.init.zeros_(model[0].bias)
    model[0].bias.requires_grad_(False)
    spec = derive(model, torch.randn(6, 4), certify=False)
    for forgotten in ("0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"):
        wrong = replace(spec, axes={n: own for n, own in spec.axes.items() if n != forgotten})
        assert certify(model, wrong, torch.randn(6, 4)).groups["0"].level is FIXED


def test_another_branch_than_the_one_followed_is_caught():
    """The first run takes one branch, the points of the certificate another, where the layer is not free."""
    seen = []

    def forward(self, x):
        h = torch.relu(self.one(x))
        seen.append(1)
        return self.two(h) if len(seen) == 1 else self.two(h.cumsum(-1))

    model = Net(forward, one=nn.Linear(3, 5), two=nn.Linear(5, 2))
    spec = derive(model, torch.randn(4, 3))
    (low,) = spec.certificate.lowered
    assert (low.group, low.derived) == ("one", SCALED)
    assert spec.groups["one"].level is FIXED


def test_labels_among_the_outputs_must_not_change():
    model = Net(lambda self, x: self.two(torch.relu(self.one(x))).argmax(-1), one=nn.Linear(3, 9), two=nn.Linear(9, 4))
    spec = derive(model, torch.randn(40, 3), certify=False)
    assert certify(model, spec, torch.randn(40, 3)).certificate.error == 0
    wrong = replace(spec, axes={n: own for n, own in spec.axes.items() if n != "two.weight"})
    (low,) = certify(model, wrong, torch.randn(40, 3)).certificate.lowered
    assert low.error == float("inf")


def test_complex_outputs_are_compared():
    model = Net(lambda self, x: torch.fft.fft(self.two(torch.relu(self.one(x)))), one=nn.Linear(3, 9))
    model.two = nn.Linear(9, 4)
    spec = derive(model, torch.randn(5, 3))
    assert spec.groups["one"].level is SCALED
    assert spec.certificate.error < 1e-12


def test_a_point_where_outputs_are_not_finite_is_avoided():
    """A parameter under a root: noise may make it negative."""

    def forward(self, x):
        return self.two(torch.relu(self.one(x))) + self.small.sqrt()

    model = Net(forward, one=nn.Linear(3, 5), two=nn.Linear(5, 2), small=nn.Parameter(torch.tensor([1e-9, 1.0])))
    spec = derive(model, torch.randn(4, 3))
    assert spec.groups["one"].level is SCALED
    assert spec.certificate.error < 1e-12


def test_leaves_the_model_and_its_inputs_alone():
    model, inputs, spec = derived(architectures.resnet)
    before, kept_inputs, seed = everything_about(model), [x.clone() for x in inputs], torch.get_rng_state()
    certify(model, with_levels(spec, **{"0": GENERAL}), *inputs)
    assert same(before, everything_about(model))
    assert all(torch.equal(a, b) for a, b in zip(inputs, kept_inputs, strict=True))
    assert torch.equal(seed, torch.get_rng_state())


def test_says_how_it_was_checked():
    model, inputs, spec = derived(architectures.mlp)
    certificate = certify(model, spec, *inputs, elements=3, tolerance=1e-9).certificate
    assert (certificate.elements, certificate.tolerance) == (3, 1e-9)
    assert repr(spec) == "Spec(2 groups on 5 tensors, not certified)"
    assert repr(derive(model, *inputs)).startswith("Spec(2 groups on 5 tensors, certified to ")
    assert derive(model, *inputs).table().splitlines()[-1].startswith("certified: 5 random elements change outputs by")


def test_a_spec_of_another_network_is_named():
    model, inputs, _ = derived(architectures.mlp)
    spec = Spec.from_axes([Group("h", 7)], {"0.weight": ("h", None)})
    with pytest.raises(ValueError, match=r"tensor '0.weight' must have shape \(7, 6\), got \(6, 6\)"):
        certify(model, spec, *inputs)
    dropped = Net(lambda self, x: F.dropout(self.one(x)), one=nn.Linear(6, 6))
    with pytest.raises(ValueError, match="model must give the same outputs for the same inputs"):
        certify(dropped, Spec({}, {}), *inputs)
