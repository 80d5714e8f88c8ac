"""What is found in networks written in many ways: sound by running them, complete by exact tables and Jacobians."""

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F

from lwidgets.parameters import State
from lwidgets.symmetry import Element, Factor, Level, Matrix, Permutation, Spec, Sum, derive
from tests.models import CASES, everything_about, same
from tests.symmetry import architectures
from tests.symmetry.architectures import ALL, Net, weight

GENERAL, ORTHOGONAL, SCALED, SIGNED, PERMUTATION, FIXED = Level


def made(make):
    torch.manual_seed(0)
    model, *inputs = make()
    return model.eval(), inputs


def found(make) -> dict[str, tuple]:
    """Name of a group -> (size, level), or (size, level, what has a copy of it)."""
    model, inputs = made(make)
    spec = derive(model, *inputs, certify=False)
    return {n: (g.size, g.level, *([g.copies] if g.copies else [])) for n, g in spec.groups.items()}


def somewhere(model: nn.Module) -> State:
    """A random point in float64: biases are not zero and no statistic is that of a fresh network."""
    generator = torch.Generator().manual_seed(1)

    def noise(tensor):
        return torch.randn(tensor.shape, generator=generator, dtype=torch.float64)

    parameters = {name: p.detach().double() + 0.3 * noise(p) for name, p in model.named_parameters()}
    buffers = {name: b.double() if b.is_floating_point() else b for name, b in model.named_buffers()}
    for name, buffer in buffers.items():
        if name.endswith("running_mean"):
            buffers[name] = noise(buffer)
        if name.endswith("running_var"):
            buffers[name] = 0.5 + noise(buffer).square()
    return State(parameters, buffers)


def outputs(model: nn.Module, state: State, inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return functional_call(model, state.tensors, tuple(doubled(inputs)))


def doubled(inputs: list[Tensor]) -> list[Tensor]:
    return [x.double() if x.is_floating_point() else x for x in inputs]


def check_by_running(spec: Spec, model: nn.Module, inputs: list[Tensor]) -> None:
    """Random elements leave the outputs as they are, and those of a single group leave some tensor not as it was."""
    model, state = model.double(), somewhere(model)
    before = outputs(model, state, inputs)
    assert before.isfinite().all()
    for seed in range(3):
        moved = spec.apply(spec.random(seed), state)
        change = (outputs(model, moved, inputs) - before).abs().max() / before.abs().max()
        assert change < 1e-10
    for name, group in spec.groups.items():
        if group.level is not FIXED:
            element = Element(spec.groups, {name: spec.random(0).values[name]})
            moved = spec.apply(element, state)
            assert any(not torch.equal(moved.tensors[n], t) for n, t in state.tensors.items())


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_random_elements_leave_the_outputs_as_they_are(make):
    model, inputs = made(make)
    spec = derive(model, *inputs, certify=False)
    assert {pin.op for pin in spec.pinned} == ({"_fft_r2c"} if make is architectures.unknown else set())
    check_by_running(spec, model, inputs)


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_nothing_has_to_be_lowered(make):
    model, inputs = made(make)
    certificate = derive(model, *inputs).certificate
    assert certificate.lowered == ()
    assert certificate.error < 1e-12


HEADS = {"qkv.copies": (4, PERMUTATION), "qkv": (3, GENERAL, "qkv.copies"), "qkv.2": (3, GENERAL, "qkv.copies")}


def layer_of(model: str, stream: Level) -> dict[str, tuple]:
    table = {"embed": (6, stream)}
    for i in (0, 1):
        heads = f"layers.{i}.attn.copies"
        table |= {heads: (2, PERMUTATION), f"layers.{i}.attn": (3, GENERAL, heads)}
        table |= {f"layers.{i}.attn.2": (3, GENERAL, heads), f"layers.{i}.gate": (8, PERMUTATION)}
    return table


TABLES = {
    "mlp": {"0": (6, SCALED), "2": (6, SIGNED)},
    "functional_mlp": {"w.a": (5, SCALED), "w.c": (7, SIGNED)},
    "deep_linear": {"0": (5, GENERAL), "1": (3, GENERAL)},
    "branching": {"first": (7, PERMUTATION), "yes": (7, PERMUTATION)},
    "siamese": {"encoder.0": (5, SCALED), "encoder.2": (6, PERMUTATION)},
    "autoencoder": {"layer": (4, PERMUTATION)},
    "resnet": {
        "0": (4, PERMUTATION),
        "3.conv1": (4, PERMUTATION),
        "4.conv1": (8, PERMUTATION),
        "4.conv2": (8, PERMUTATION),
        "5.conv1": (16, PERMUTATION),
        "5.conv2": (16, PERMUTATION),
    },
    "vgg": {"0": (4, SCALED), "3": (6, SCALED), "7": (8, SCALED)},
    "densenet": {
        "stem": (4, PERMUTATION),
        "layers.0.2": (4, PERMUTATION),
        "layers.1.2": (4, PERMUTATION),
        "layers.2.2": (4, GENERAL),
    },
    "unet": {"down1": (4, SCALED), "down2": (6, SCALED), "up": (4, GENERAL), "join": (5, SCALED)},
    "mobile": {"stem": (4, PERMUTATION), "up": (8, PERMUTATION), "squeeze": (3, SCALED)},
    "shuffled_units": {"stem": (2, SCALED), "stem.2": (2, SCALED), "stem.3": (4, SCALED)},
    "grouped": {
        "0.copies": (2, PERMUTATION),
        "0": (2, PERMUTATION, "0.copies"),
        "0.2": (2, PERMUTATION, "0.copies"),
        "3": (3, PERMUTATION, "0.copies"),
        "5": (2, PERMUTATION, "0.copies"),
    },
    "norms": {"0": (4, PERMUTATION), "3": (6, PERMUTATION), "6": (4, PERMUTATION)},
    "superresolution": {"0": (4, SCALED), "2": (2, SCALED)},
    "weight_norm": {"0": (5, PERMUTATION), "2": (6, SIGNED)},
    "spectral_norm": {"0": (5, PERMUTATION)},
    "mixer": {"embed": (6, PERMUTATION), "tokens.0": (6, PERMUTATION), "features.0": (6, PERMUTATION)},
    "separate": {"q.copies": (4, PERMUTATION), "q": (3, GENERAL, "q.copies"), "v": (3, GENERAL, "q.copies")},
    "packed_chunk": HEADS,
    "packed_split": HEADS,
    "packed_permute": HEADS,
    "packed_index": HEADS,
    "packed_per_head": HEADS,
    "grouped_queries": {
        "q.copies": (2, PERMUTATION),
        "q": (2, PERMUTATION, "q.copies"),
        "v": (4, GENERAL, "q.copies"),
        "o": (6, GENERAL),
    },
    "language_model": layer_of("language_model", ORTHOGONAL),
    "torch_rms_language_model": layer_of("torch_rms_language_model", ORTHOGONAL),
    "tied_language_model": layer_of("tied_language_model", ORTHOGONAL),
    "affine_language_model": layer_of("affine_language_model", PERMUTATION),
    "gru": {"cell.weight_ih_l0": (5, PERMUTATION), "cell.weight_ih_l1": (5, PERMUTATION)},
    "lstm": {f"cell.weight_ih_l{i}{way}": (5, PERMUTATION) for i in (0, 1) for way in ("", "_reverse")},
    "unrolled": {"into": (5, SIGNED)},
    "gcn": {"one": (5, SCALED)},
    "sparse_gcn": {"one": (5, SCALED), "two": (6, SIGNED)},
    "message_passing": {"embed": (5, SCALED)},
    "experts": {"gate": (3, PERMUTATION), "up": (5, SCALED, "gate")},
    "unknown": {"one": (6, SCALED), "three": (6, SCALED)},
}


@pytest.mark.parametrize("name", TABLES)
def test_finds_exactly_these_groups(name):
    assert found(getattr(architectures, name)) == TABLES[name]


def shuffled(h: Tensor, groups: int) -> Tensor:
    return h.view(len(h), groups, -1).transpose(1, 2).reshape(h.shape)


def halves_changed(h: Tensor) -> Tensor:
    a, b = h.chunk(2, 1)
    return torch.cat([b, a], 1)


def mixed_in_place(self, x: Tensor) -> Tensor:
    both = x.new_empty(2, len(x), 6)
    torch.mm(x, self.a, out=both[0])
    torch.mm(x, self.d, out=both[1])
    return torch.relu(both).sum(0) @ self.b


def in_space(h: Tensor) -> Tensor:
    return h[..., None, None].expand(8, 6, 2, 2) * torch.arange(4.0).view(2, 2)


def one_row_filled(self, x: Tensor) -> Tensor:
    h = x @ self.a
    h[0].fill_(1.0)
    return h @ self.b


def written_over_ones(self, x: Tensor) -> Tensor:
    both = x.new_ones(2, 8, 6)
    both[0] = x @ self.a
    return both.sum(0) @ self.b


def written_over(target: Tensor, x: Tensor) -> Tensor:
    target[:, :4] = x
    return target


def across_heads(self, x: Tensor) -> Tensor:
    q = (x @ self.a).view(-1, 2, 2, 3)  # two tokens, two heads
    return torch.einsum("bthd,bsgd->bhgts", q, q).softmax(-1).sum((1, 2))


def heads_through_heads(self, x: Tensor) -> Tensor:
    q = x @ self.a
    k = q @ self.b
    q, k = (part.view(-1, 2, 3).transpose(0, 1) for part in (q, k))
    return ((q @ k.mT).softmax(-1) @ k).transpose(0, 1).flatten(1) @ self.f[:6]


def one_readout_for_all_experts(self, x: Tensor) -> Tensor:
    read = torch.bmm(torch.einsum("bi,eih->ebh", x, self.u), self.c.T.expand(3, 5, 3))
    return torch.einsum("ebo,e->bo", read + self.g[:, None, None], self.w.sum((1, 2)))


def packed_and_normed(self, x: Tensor) -> Tensor:
    q, k, v = architectures.RMS()((x @ self.packed).view(-1, 2, 3, 2, 3)).unbind(2)
    return F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, k, v))).sum(1) @ self.c


def viewed_after_it_was_read(self, x: Tensor) -> Tensor:
    h = x @ self.a
    return torch.cat([h @ self.b, (h.view(-1, 2, 3) @ self.c).flatten(1)], 1)


# What forward does with a (4, 6), b (6, 6), c (3, 5), d (4, 6), e (1), f (12, 2), g (3), n (6, 1), u (3, 4, 5),
# w (3, 5, 2) and packed (4, 18) -> levels of the groups by size
CORNERS = {
    "read by the weight that made it": (lambda self, x: x @ self.a @ self.a.T, {6: [ORTHOGONAL]}),
    "added to itself in another order": (lambda self, x: ((h := x @ self.a) + shuffled(h, 2)) @ self.b, {}),
    "one number added to all": (lambda self, x: (x @ self.a + self.e) @ self.b, {6: [PERMUTATION]}),
    "a number added to all": (lambda self, x: (x @ self.a + 1.0) @ self.b, {6: [PERMUTATION]}),
    "times a number": (lambda self, x: (x @ self.a * 2.0 / 3.0) @ self.b, {6: [GENERAL]}),
    "times one number": (lambda self, x: (x @ self.a * self.e) @ self.b, {6: [GENERAL]}),
    "over itself": (lambda self, x: (1 / (x @ self.a)) @ self.b, {6: [PERMUTATION]}),
    "a square": (lambda self, x: (x @ self.a).square() @ self.b, {6: [PERMUTATION]}),
    "a square that is summed": (lambda self, x: (x @ self.a).square().sum(-1), {6: [ORTHOGONAL]}),
    "a square, averaged with others": (lambda self, x: (x @ self.a).pow(2).mean(0) @ self.b, {6: [PERMUTATION]}),
    "itself times itself": (lambda self, x: ((h := x @ self.a) * h).sum(-1), {6: [ORTHOGONAL]}),
    "a norm": (lambda self, x: torch.linalg.vector_norm(x @ self.a, dim=-1), {6: [ORTHOGONAL]}),
    "a sum of absolute values": (lambda self, x: torch.linalg.vector_norm(x @ self.a, 1, -1), {6: [PERMUTATION]}),
    "normalised": (lambda self, x: F.normalize(x @ self.a) @ self.b, {6: [ORTHOGONAL]}),
    "an unknown operation": (lambda self, x: torch.fft.fft(torch.tanh(x @ self.a)).real @ self.b, {}),
    "one of them": (lambda self, x: (h := torch.relu(x @ self.a)) @ self.b + h[:, 2:3], {2: [SCALED], 3: [SCALED]}),
    "the third of them": (lambda self, x: (h := torch.relu(x @ self.a)) @ self.b + h[:, 2, None], {}),
    "every second": (lambda self, x: torch.tanh(x @ self.a)[:, ::2] @ self.c, {}),
    "the first half of them": (lambda self, x: torch.relu(x @ self.a)[:, :3] @ self.c, {3: [SCALED]}),
    "halves that change places": (
        lambda self, x: (h := torch.relu(x @ self.a)) @ self.b + halves_changed(h) @ self.b,
        {3: [SCALED]},
    ),
    "halves of what was shuffled": (
        lambda self, x: ((h := shuffled(torch.relu(x @ self.packed[:, :12]), 2)) + halves_changed(h)) @ self.f,
        {2: [SCALED], 3: [SCALED]},
    ),
    "products side by side": (
        lambda self, x: torch.einsum("beh,eho,e->bo", torch.einsum("bi,eih->beh", x, self.u), self.w, self.g),
        {3: [PERMUTATION], 5: [GENERAL]},
    ),
    "looked up": (lambda self, x: (F.embedding(torch.arange(3), self.d) + self.d.sum(0)) @ self.b, {6: [GENERAL]}),
    "chosen": (lambda self, x: (self.d[torch.tensor([0, 2])] + self.d.sum(0)) @ self.b, {6: [GENERAL]}),
    "chosen among features": (lambda self, x: torch.tanh(x @ self.a)[:, torch.tensor([0, 2, 4])] @ self.c, {}),
    "gathered": (
        lambda self, x: torch.tanh(x @ self.a).gather(1, torch.zeros(8, 3, dtype=torch.int64)) @ self.c,
        {},
    ),
    "added at places": (
        lambda self, x: (x @ self.a).new_zeros(3, 6).index_add(0, torch.arange(8) % 3, x @ self.a) @ self.b,
        {6: [GENERAL]},
    ),
    "scattered to places": (
        lambda self, x: (
            (h := x @ self.a).new_zeros(3, 6).scatter_add(0, (torch.arange(8) % 3)[:, None].expand(8, 6), h) @ self.b
        ),
        {6: [PERMUTATION]},
    ),
    "scattered, each to its own": (
        lambda self, x: (h := x @ self.a).new_zeros(3, 6).scatter_add(0, torch.arange(48).view(8, 6) % 3, h) @ self.b,
        {},
    ),
    "gathered, each from its own": (
        lambda self, x: (x @ self.a).gather(0, torch.arange(48).view(8, 6) % 3) @ self.b,
        {},
    ),
    "selected features": (lambda self, x: torch.tanh(x @ self.a).index_select(1, torch.tensor([0, 2, 4])) @ self.c, {}),
    "looked up and averaged": (
        lambda self, x: (F.embedding_bag(torch.arange(8).view(4, 2) % 3, self.d) + self.d.sum(0)) @ self.b,
        {6: [GENERAL]},
    ),
    "the largest that was looked up": (
        lambda self, x: F.embedding_bag(torch.arange(8).view(4, 2) % 3, self.d, mode="max") @ self.b,
        {6: [SCALED]},
    ),
    "one bias for all": (lambda self, x: torch.addmm(self.e, x, self.a) @ self.b, {6: [PERMUTATION]}),
    "layer norm": (lambda self, x: F.layer_norm(x @ self.a, (6,)) @ self.b, {6: [PERMUTATION]}),
    "group norm": (lambda self, x: F.group_norm(x @ self.a, 2) @ self.b, {2: [PERMUTATION], 3: [PERMUTATION]}),
    "weight norm": (
        lambda self, x: x @ self.a @ torch._weight_norm(self.b, self.n, 0).T @ self.f[:6],
        {6: [ORTHOGONAL, PERMUTATION]},
    ),
    "largest in space": (lambda self, x: F.max_pool2d(in_space(x @ self.a), 2).flatten(1) @ self.b, {6: [SCALED]}),
    "average in space": (lambda self, x: F.avg_pool2d(in_space(x @ self.a), 2).flatten(1) @ self.b, {6: [GENERAL]}),
    "features as space": (lambda self, x: F.avg_pool1d(torch.tanh(x @ self.a)[:, None], 2)[:, 0] @ self.c, {}),
    "windows of features": (
        lambda self, x: F.unfold(torch.tanh(x @ self.a).view(8, 1, 6, 1), (2, 1)).sum(1) @ self.c.T,
        {},
    ),
    "channels to space": (
        lambda self, x: F.pixel_shuffle(torch.tanh(x @ self.packed[:, :8]).view(8, 8, 1, 1), 2).flatten(1) @ self.f[:8],
        {2: [SIGNED]},
    ),
    "along features": (
        lambda self, x: (x @ self.a).new_zeros(8, 6).index_add(1, torch.arange(6), torch.tanh(x @ self.a)) @ self.b,
        {},
    ),
    "a row of ones": (one_row_filled, {6: [PERMUTATION]}),
    "written over ones": (written_over_ones, {6: [PERMUTATION]}),
    "written over ones, and data": (
        lambda self, x: (written_over(x.new_ones(8, 6), x) + x @ self.a) @ self.b,
        {2: [PERMUTATION]},
    ),
    "rounded": (lambda self, x: (x @ self.a).long().double() @ self.b, {6: [PERMUTATION]}),
    "its bits": (lambda self, x: (x @ self.a).tanh().view(torch.int64).double() @ self.b, {}),
    "a triangle": (lambda self, x: x @ self.a @ self.b.tril() @ self.a.T, {}),
    "by rank": (lambda self, x: torch.tanh(x @ self.a).topk(3).values @ self.c, {}),
    "its own weights": (lambda self, x: (x @ self.a).softmax(-1) @ self.b, {6: [PERMUTATION]}),
    "spread out": (lambda self, x: (x @ self.a).std(-1), {6: [PERMUTATION]}),
    "prelu": (lambda self, x: F.prelu(x @ self.a, self.e) @ self.b, {6: [SCALED]}),
    "prelu for each": (lambda self, x: F.prelu(x @ self.a, self.d[0]) @ self.b, {6: [PERMUTATION]}),
    "summed": (lambda self, x: torch.tanh(x @ self.a).sum(-1), {6: [PERMUTATION]}),
    "norms over experts": (
        lambda self, x: torch.linalg.vector_norm(torch.einsum("bi,eih->beh", x, self.u), dim=1) @ self.c.T,
        {3: [ORTHOGONAL], 5: [SCALED]},
    ),
    "the largest expert": (
        lambda self, x: torch.einsum("bi,eih->beh", x, self.u).amax(1) @ self.c.T,
        {3: [PERMUTATION], 5: [SCALED]},
    ),
    "the spread of experts": (
        lambda self, x: torch.einsum("bi,eih->beh", x, self.u).var(1) @ self.c.T,
        {3: [PERMUTATION], 5: [PERMUTATION]},
    ),
    "the largest": (lambda self, x: (x @ self.a).amax(-1), {6: [PERMUTATION]}),
    "the largest, and where": (lambda self, x: (x @ self.a).max(-1).values, {}),
    "in order": (lambda self, x: (x @ self.a).sort(-1).values @ self.b, {}),
    "summed up": (lambda self, x: (x @ self.a).cumsum(-1) @ self.b, {}),
    "turned round": (lambda self, x: (x @ self.a).flip(-1) @ self.b, {}),
    "above zero": (lambda self, x: (x @ self.a).clamp(min=0) @ self.b, {6: [SCALED]}),
    "above one": (lambda self, x: (x @ self.a).clamp(min=1) @ self.b, {6: [PERMUTATION]}),
    "filled with zeros": (
        lambda self, x: (x @ self.a).masked_fill(x[:, :1] > 0, 0.0) @ self.b,
        {6: [GENERAL]},
    ),
    "one over them": (lambda self, x: (self.e / (x @ self.a)) @ self.b, {6: [PERMUTATION]}),
    "where, else nothing": (lambda self, x: torch.where(x[:, :1] > 0, x @ self.a, 0.5) @ self.b, {6: [PERMUTATION]}),
    "where, by another": (
        lambda self, x: torch.where(torch.tanh(x @ self.d) > 0, x @ self.a, x @ self.a * 2) @ self.b,
        {6: [PERMUTATION]},
    ),
    "filled with ones": (lambda self, x: (x @ self.a).masked_fill(x[:, :1] > 0, 1.0) @ self.b, {6: [PERMUTATION]}),
    "where, of all": (lambda self, x: torch.where(x[:, :1] > 0, x @ self.a, x @ self.d) @ self.b, {6: [GENERAL]}),
    "where, of each": (
        lambda self, x: torch.where(x @ self.a > 0, x @ self.a, x @ self.d) @ self.b,
        {6: [PERMUTATION]},
    ),
    "the larger": (lambda self, x: torch.maximum(x @ self.a, x @ self.d) @ self.b, {6: [SCALED]}),
    "written into memory": (mixed_in_place, {6: [SCALED]}),
    "heads that see each other": (across_heads, {2: [PERMUTATION], 3: [ORTHOGONAL]}),
    "one readout for all experts": (
        one_readout_for_all_experts,
        {3: [PERMUTATION], 5: [GENERAL, PERMUTATION], 2: [PERMUTATION]},
    ),
    "heads through heads": (heads_through_heads, {2: [PERMUTATION], 3: [GENERAL]}),
    "queries, keys and values normed together": (packed_and_normed, {2: [PERMUTATION], 3: [ORTHOGONAL]}),
    "viewed after it was read": (viewed_after_it_was_read, {3: [GENERAL]}),
    "repeated": (lambda self, x: (x @ self.a).repeat(1, 2) @ torch.cat([self.b, self.b]), {6: [GENERAL]}),
    "padded": (
        lambda self, x: F.pad(x @ self.a, (0, 3)) @ torch.cat([self.b, self.c[:, :1].expand(3, 6)]),
        {6: [GENERAL]},
    ),
    "padded with ones": (lambda self, x: F.pad(x @ self.a, (0, 0, 0, 2), value=1.0) @ self.b, {6: [PERMUTATION]}),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_corners(corner):
    forward, levels = CORNERS[corner]
    torch.manual_seed(0)
    shapes = {"a": (4, 6), "b": (6, 6), "c": (3, 5), "d": (4, 6), "e": (1,), "packed": (4, 18)}
    shapes |= {"f": (12, 2), "g": (3,), "n": (6, 1), "u": (3, 4, 5), "w": (3, 5, 2)}
    model = Net(forward, **{name: weight(*shape) for name, shape in shapes.items()})
    inputs = [torch.randn(8, 4)]
    spec = derive(model, *inputs, certify=False)
    check_by_running(spec, model, inputs)
    by_size: dict[int, list[Level]] = {}
    for group in spec.groups.values():
        by_size.setdefault(group.size, []).append(group.level)
    assert by_size == levels


def test_what_meets_across_heads_is_one_for_all_of_them():
    model = Net(across_heads, a=weight(4, 6))
    assert [group.copies for group in derive(model, torch.randn(8, 4)).groups.values()] == [None, None]


def test_axes_of_a_packed_projection_are_sums_of_heads():
    model, inputs = made(architectures.packed_permute)
    spec = derive(model, *inputs, certify=False)
    heads = Factor("qkv.copies", 4)
    q, k, v = (Factor("qkv", 3), Factor("qkv", 3, dual=True), Factor("qkv.2", 3))
    packed = (Sum(((heads, q), (heads, k), (heads, v))),)
    assert spec.axes["qkv.weight"] == (packed, ())
    assert spec.axes["qkv.bias"] == (packed,)
    assert spec.axes["o.weight"] == ((), (heads, Factor("qkv.2", 3, dual=True)))


def test_a_flattened_image_stands_beside_its_channels():
    model, inputs = made(architectures.vgg)
    spec = derive(model, *inputs, certify=False)
    assert spec.axes["7.weight"] == ((Factor("7", 8),), (Factor("3", 6, dual=True), Factor(None, 2), Factor(None, 2)))


def test_concatenated_features_are_sums():
    model, inputs = made(architectures.densenet)
    spec = derive(model, *inputs, certify=False)
    features = tuple((Factor(name, 4),) for name in ("stem", "layers.0.2", "layers.1.2"))
    assert spec.axes["layers.2.0.running_var"] == ((Sum(features),),)


# ---- completeness: the outputs change along every other direction


def linear():
    return Net(lambda self, x: x @ self.a @ self.b @ self.c, a=weight(4, 5), b=weight(5, 3), c=weight(3, 4)), (
        torch.randn(40, 4)
    )


def rotated():
    """Tied by transposing, with nothing between: the stream may be rotated."""

    def forward(self, x):
        return architectures.RMS()(x @ self.a) @ self.b + x @ self.a @ self.a.T

    return Net(forward, a=weight(5, 4), b=weight(4, 5)), torch.randn(60, 5)


def gated():
    """Every expert has hidden units of its own; the gate is no softmax, which could be shifted."""

    def forward(self, x):
        h = F.relu(torch.einsum("bd,edh->beh", x, self.up) + self.bias)
        return torch.einsum("be,beh,eho->bo", torch.sigmoid(x @ self.gate), h, self.down)

    parts = {"gate": weight(4, 3), "up": weight(3, 4, 5), "bias": weight(3, 5), "down": weight(3, 5, 2)}
    return Net(forward, **parts), torch.randn(300, 4)


def attention():
    """Four heads with weights of their own; outputs as wide as the stream, so that nothing is hidden behind them."""

    def forward(self, x):
        q, k, v = (torch.einsum("btd,hde->bhte", x, w) for w in (self.q, self.k, self.v))
        scores = torch.einsum("bhte,bhse->bhts", q, k).softmax(-1)
        return torch.einsum("bhts,bhse,hed->btd", scores, v, self.o)

    return Net(forward, **{n: weight(4, 5, 3) for n in "qkv"}, o=weight(4, 3, 5)), torch.randn(60, 4, 5)


def activated():
    def forward(self, x):
        return torch.sin(F.leaky_relu(x @ self.a + self.b) @ self.c) @ self.d

    return Net(forward, a=weight(4, 5), b=weight(5), c=weight(5, 6), d=weight(6, 2)), torch.randn(200, 4)


def near_identity(spec: Spec, step: float):
    """An element for each direction in which one of the continuous groups can leave the identity."""
    for name, group in spec.groups.items():
        copies = spec.copies(name)
        for copy in range(copies or 1):
            for i, j in itertools.product(range(group.size), repeat=2):
                matrix = torch.zeros(copies or 1, group.size, group.size, dtype=torch.float64)
                matrix[copy, i, j] = step
                if group.level is ORTHOGONAL and i < j:
                    matrix = matrix - matrix.mT
                elif group.level is not GENERAL and not (group.level is SCALED and i == j):
                    continue
                matrix = torch.linalg.matrix_exp(matrix)
                value = Matrix(matrix if copies else matrix[0])
                if group.level is SCALED:
                    scales = value.matrix.diagonal(dim1=-2, dim2=-1)
                    value = Permutation(torch.arange(group.size).expand(scales.shape), scales)
                yield Element(spec.groups, {name: value})


@pytest.mark.parametrize("make", [linear, rotated, gated, attention, activated], ids=lambda make: make.__name__)
def test_no_continuous_symmetry_is_missed(make):
    model, inputs = made(make)
    spec = derive(model, *inputs, certify=False)
    model, state = model.double(), somewhere(model)
    inputs = doubled(inputs)
    jacobian = jacrev(lambda tensors: functional_call(model, tensors, tuple(inputs)))(dict(state.parameters))
    jacobian = torch.cat([jacobian[n].flatten(-state.parameters[n].ndim).flatten(0, -2) for n in jacobian], 1)
    directions = [
        torch.cat([(moved.parameters[n] - t).flatten() for n, t in state.parameters.items()]) / 1e-6
        for moved in (spec.apply(element, state) for element in near_identity(spec, 1e-6))
    ]
    unseen = jacobian.shape[1] - int(torch.linalg.matrix_rank(jacobian, rtol=1e-9))
    moves = int(torch.linalg.matrix_rank(torch.stack(directions), rtol=1e-4)) if directions else 0
    assert (moves, unseen) == (unseen, unseen)


# ---- what else it says, and what it leaves alone


def test_reasons_name_the_operation_the_module_and_the_line():
    model, inputs = made(architectures.functional_mlp)
    reason = derive(model, *inputs, certify=False).groups["w.c"].reason
    assert reason.startswith("sin in the model (Net), architectures.py:")
    model, inputs = made(architectures.mlp)
    assert derive(model, *inputs, certify=False).groups["0"].reason == "relu in 1 (ReLU)"


def test_an_unknown_operation_is_named_with_what_it_fixed():
    model, inputs = made(architectures.unknown)
    spec = derive(model, *inputs)
    (pin,) = spec.pinned
    assert pin.op == "_fft_r2c"
    assert pin.tensors == ("two.weight", "two.bias")
    assert "no rule for _fft_r2c in _fft_r2c in the model (Net), architectures.py:" in spec.table()


def test_what_no_output_depends_on_restricts_nothing():
    def forward(self, x):
        h = torch.relu(self.one(x))
        h[:, 0], torch.fft.fft(h), h.sort()  # looked at, not used
        return self.two(h)

    model = Net(forward, one=nn.Linear(3, 5), two=nn.Linear(5, 2), unused=nn.Linear(7, 7))
    spec = derive(model, torch.randn(4, 3))
    assert {n: g.level for n, g in spec.groups.items()} == {"one": SCALED}
    assert spec.pinned == ()


def test_a_cache_is_no_output():
    class Cache:
        def __init__(self, kept):
            self.kept = kept

    def forward(self, x):
        h = torch.relu(self.one(x))
        return {"scores": self.two(h), "past": Cache(h)}

    model = Net(forward, one=nn.Linear(3, 5), two=nn.Linear(5, 2))
    assert set(derive(model, torch.randn(4, 3)).groups) == {"one"}
    hidden = Net(lambda self, x: (h := torch.relu(self.one(x)), self.two(h)), one=model.one, two=model.two)
    assert not derive(hidden, torch.randn(4, 3)).groups


def test_norms_that_compute_in_float32_are_followed_and_certified_in_float64():
    def forward(self, x):
        h = self.one(x)
        h = (h.float() * torch.rsqrt(h.float().square().mean(-1, keepdim=True))).to(x.dtype)
        return self.two(h)

    spec = derive(Net(forward, one=nn.Linear(3, 5), two=nn.Linear(5, 2)), torch.randn(4, 3))
    assert spec.groups["one"].level is ORTHOGONAL
    assert spec.certificate.error < 1e-12


def test_constants_that_a_model_makes_in_float32_do_not_stop_it():
    def forward(self, x):
        h = torch.zeros(len(x), 5)
        for _ in range(2):
            h = torch.tanh(self.one(x) + h @ self.again)
        return h @ torch.ones(5, 2) @ self.plain + self.two(h) @ torch.tensor([[1.0, 2.0], [0.5, 1.0]])

    model = Net(forward, one=nn.Linear(3, 5), again=weight(5, 5), two=nn.Linear(5, 2))
    model.plain = torch.randn(2, 2)
    spec = derive(model, torch.randn(4, 3))
    assert spec.groups["one"].level is PERMUTATION  # the ones allow no signs
    assert model.plain.dtype == torch.float32


def test_only_statistics_among_buffers_move():
    model, inputs = made(architectures.resnet)
    spec = derive(model, *inputs, certify=False)
    assert spec.axes["1.running_mean"] == spec.axes["1.running_var"] == ((Factor("0", 4),),)
    assert "1.num_batches_tracked" not in spec.axes
    positional = Net(lambda self, x: self.two(torch.relu(self.one(x)) + self.shift), one=nn.Linear(3, 5))
    positional.two = nn.Linear(5, 2)
    positional.register_buffer("shift", torch.randn(5))
    assert not derive(positional, torch.randn(4, 3)).groups


def test_tied_tensors_are_one_under_each_name():
    model = CASES[2].model()
    spec = derive(model, torch.randint(0, 11, (3, 6)))
    assert spec.aliases == {"output.weight": "embedding.weight"}
    moved = spec.apply(spec.random(0), model.state_dict())
    assert torch.equal(moved.parameters["output.weight"], moved.parameters["embedding.weight"])
    assert not torch.equal(moved.parameters["output.weight"], model.output.weight)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_of_the_users_is_touched(case):
    model = case.model().train()
    data = case.samples()
    inputs = (data[0][:3] if isinstance(data, tuple) else data[:3]).clone()
    before, kept = everything_about(model), inputs.clone()
    seed, fast = torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    derive(model, inputs)
    assert same(before, everything_about(model))
    assert torch.equal(inputs, kept)
    assert torch.equal(seed, torch.get_rng_state())
    assert torch.backends.mha.get_fastpath_enabled() is fast
    assert torch.is_grad_enabled()
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_runs_the_model_once():
    runs = []

    def forward(self, x):
        runs.append(x.dtype)
        return self.one(x)

    derive(Net(forward, one=nn.Linear(3, 5)), torch.randn(4, 3), certify=False)
    assert runs == [torch.float64]


def test_is_the_same_every_time():
    for make in (architectures.shuffle, architectures.vit, architectures.experts):
        model, inputs = made(make)
        first, second = (derive(model, *inputs) for _ in range(2))
        assert first.table() == second.table()
        assert first.axes == second.axes


@pytest.mark.parametrize(
    ("forward", "error", "message"),
    [
        (lambda self, x: "text", TypeError, "model must return tensors, got str"),
        (
            lambda self, x: self.one(x.T),
            TypeError,
            "must run in eval mode and float64.*got RuntimeError: mat1 and mat2",
        ),
        (lambda self, x: self.one(x) + torch.rand(1), ValueError, "must give the same outputs for the same inputs"),
        (lambda self, x: self.one(x) / 0, ValueError, "outputs must be finite"),
    ],
)
def test_refuses_with_a_message_that_names_the_fault(forward, error, message):
    with pytest.raises(error, match=message):
        derive(Net(forward, one=nn.Linear(3, 5)), torch.randn(4, 3))


def test_a_weight_that_is_read_by_nothing_else_is_left_alone():
    def forward(self, x):
        return F.embedding(torch.arange(3), self.table)[:, :2] + self.one(x)

    spec = derive(Net(forward, table=weight(5, 4), one=nn.Linear(3, 2)), torch.randn(3, 3))
    assert not spec.groups
    assert not spec.axes


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("resnet20_cifar10", {PERMUTATION: 12}),
        ("preresnet20_cifar10", {PERMUTATION: 12}),
        ("seresnet20_cifar10", {PERMUTATION: 12, SCALED: 6}),  # a stage each, an inner layer a block; its squeeze
        ("nin_cifar10", {SCALED: 8}),
        ("densenet40_k12_cifar10", {PERMUTATION: 39}),
    ],
)
def test_networks_of_a_foreign_zoo(name, groups):
    zoo = pytest.importorskip("pytorchcv.model_provider")
    torch.manual_seed(0)
    spec = derive(zoo.get_model(name), torch.randn(1, 3, 32, 32))
    assert Counter(group.level for group in spec.groups.values()) == groups
    assert spec.pinned == ()
    assert spec.certificate.lowered == ()
    assert spec.certificate.error < 1e-12


def test_a_model_that_writes_into_its_input_leaves_the_users_as_it_is():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(x.mul_(2))

    given = torch.ones(4, 3, dtype=torch.float64)
    derive(Writes(), given)
    assert (given == 1).all()
