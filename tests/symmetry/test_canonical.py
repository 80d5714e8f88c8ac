"""Transformers in canonical coordinates: the same function, more symmetry, and a no by name where it cannot be had."""

import copy
import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.demo.transformer import DigitsTransformer, digits_vit
from lwidgets.parameters import State
from lwidgets.symmetry import Level, derive
from lwidgets.symmetry.align import align
from lwidgets.symmetry.canonical import canonical, recast
from lwidgets.symmetry.circuits import Circuits, MultiheadCircuits
from tests.models import TRANSFORMER, everything_about, same
from tests.symmetry import architectures
from tests.symmetry.architectures import Net, weight


class Scale(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.gamma = weight(size)

    def forward(self, x):
        return x * self.gamma


def packed():
    """q, k and v of one projection; the mean over tokens between the last norm and its reader."""
    return DigitsTransformer(8, 2, 2), [torch.rand(n, 64) for n in (3, 5)]


def separate():
    """q, k and v apart and without biases, a class token, learned positions, attention by hand, scaled layers."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(6, 6, bias=False) for _ in range(3))
            self.o = nn.Sequential(nn.Linear(6, 6, bias=False), Scale(6))

        def forward(self, x):
            k, q, v = (f(x).view(*x.shape[:2], 3, 2).transpose(1, 2) for f in (self.k, self.q, self.v))
            mixed = (q @ k.transpose(-2, -1) / math.sqrt(2)).softmax(-1) @ v
            return self.o(mixed.transpose(1, 2).reshape(x.shape))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.position
        for norm1, attention, norm2, mlp in zip(*(self.parts[i::4] for i in range(4)), strict=True):
            x = x + attention(norm1(x))
            x = x + mlp(norm2(x))
        return self.head(self.norm(x)[:, 0])

    parts = nn.ModuleList()
    for _ in range(2):
        mlp = nn.Sequential(nn.Linear(6, 9, bias=False), nn.Tanh(), nn.Linear(9, 6), Scale(6))
        parts += [nn.LayerNorm(6, 1e-3), Attention(), nn.LayerNorm(6), mlp]
    net = {"patch": nn.Conv2d(3, 6, 4, 4), "cls": weight(1, 1, 6), "position": weight(5, 6), "parts": parts}
    return Net(forward, **net, norm=nn.LayerNorm(6), head=nn.Linear(6, 4)), [torch.randn(n, 3, 8, 8) for n in (2, 4)]


def encoder(batch_first=True):
    """torch's own layers, with a mask, called with tokens first unless told otherwise."""

    def forward(self, ids):
        mask = nn.Transformer.generate_square_subsequent_mask(5) == -torch.inf
        x = self.body(self.embed(ids if batch_first else ids.T), mask=mask)
        return self.out(x if batch_first else x.transpose(0, 1))

    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.1, "gelu", 1e-4, batch_first, norm_first=True)
    body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(6), enable_nested_tensor=False)
    parts = {"embed": nn.Embedding(11, 6), "body": body, "out": nn.Linear(6, 3)}
    return Net(forward, **parts), [torch.randint(0, 11, (n, 5)) for n in (2, 3)]


def tokens_first():
    return encoder(batch_first=False)


def decoder():
    """A causal language model with weighted RMS norms and a head that is tied to the embedding."""

    def forward(self, ids):
        mask = torch.ones(6, 6, dtype=torch.bool).triu(1)
        x = self.embed(ids) + self.position[: ids.shape[1]]
        for layer in self.layers:
            h = layer["norm1"](x)
            x = x + layer["attn"](h, h, h, need_weights=False, attn_mask=mask)[0]
            h = layer["norm2"](x)
            x = x + layer["down"](F.silu(layer["gate"](h)) * layer["up"](h))
        return self.head(self.norm(x))

    def layer():
        parts = {"norm1": nn.RMSNorm(8, 1e-6), "norm2": nn.RMSNorm(8)}
        parts |= {"attn": nn.MultiheadAttention(8, 4, bias=False, batch_first=True), "gate": nn.Linear(8, 5)}
        return nn.ModuleDict(parts | {"up": nn.Linear(8, 5, bias=False), "down": nn.Linear(5, 8, bias=False)})

    parts = {"embed": nn.Embedding(11, 8), "head": nn.Linear(8, 11, bias=False), "norm": nn.RMSNorm(8)}
    parts["head"].weight = parts["embed"].weight
    layers = nn.ModuleList([layer(), layer()])
    return Net(forward, **parts, position=weight(9, 8), layers=layers), [torch.randint(0, 11, (n, 6)) for n in (2, 1)]


def gpt():
    """As GPT-2: weights the other way round, a LayerNorm of its own; one head, whose scores are not scaled."""

    class Norm(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.scale, self.offset, self.variance_epsilon = weight(size), weight(size), 3e-4

        def forward(self, x):
            x = x - x.mean(-1, keepdim=True)
            return x / (x.square().mean(-1, keepdim=True) + self.variance_epsilon).sqrt() * self.scale + self.offset

    class Conv1D(nn.Module):
        def __init__(self, into, out):
            super().__init__()
            self.weight, self.bias = weight(into, out), weight(out)

        def forward(self, x):
            return torch.addmm(self.bias, x.flatten(0, -2), self.weight).view(*x.shape[:-1], -1)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.c_attn, self.c_proj = Conv1D(6, 18), Conv1D(6, 6)

        def forward(self, x):
            q, k, v = self.c_attn(x).split(6, -1)
            return self.c_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2, self.attn = Norm(6), Norm(6), Attention()
            self.mlp = nn.Sequential(Conv1D(6, 12), nn.GELU("tanh"), nn.Dropout(0.3), Conv1D(12, 6))

        def forward(self, x):
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(11, 6), nn.Embedding(8, 6)
            self.h, self.ln_f = nn.ModuleList([Block(), Block()]), Norm(6)
            self.lm_head = nn.Linear(6, 11, bias=False)
            self.lm_head.weight = self.wte.weight

        def forward(self, ids):
            x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
            for block in self.h:
                x = block(x)
            return self.lm_head(self.ln_f(x))

    return GPT(), [torch.randint(0, 11, shape) for shape in ((2, 6), (3, 4))]


def shared():
    """One block under three names, as in ALBERT, and one norm for all; attention and perceptron read it together."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.attn = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(8, 7), nn.ReLU(), Scale(7), nn.Linear(7, 8))

        def forward(self, x):
            h = self.norm(x)
            return x + self.mlp(h) + self.attn(h, h, h)[0]

    block = Block()
    layers = [nn.Linear(3, 8), block, block, block, block.norm, nn.Linear(8, 2)]
    return nn.Sequential(*layers), [torch.randn(n, 4, 3) for n in (2, 3)]


# name: (how it is written, size of the stream, attentions, heads of each)
WRITTEN = [
    (packed, 8, 2, 2),
    (separate, 6, 2, 3),
    (encoder, 6, 2, 2),
    (tokens_first, 6, 2, 2),
    (decoder, 8, 2, 4),
    (gpt, 6, 2, 1),
    (shared, 8, 1, 2),
]
each = pytest.mark.parametrize(("make", "width", "layers", "heads"), WRITTEN, ids=[row[0].__name__ for row in WRITTEN])


def made(make, dtype=torch.float64):
    """A model no parameter of which is what a fresh one has, in eval mode; inputs of two batch sizes."""
    torch.manual_seed(0)
    model, inputs = make()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    return model.to(dtype).eval(), [x.to(dtype) if x.is_floating_point() else x for x in inputs]


@pytest.fixture(scope="module")
def trained():
    state = torch.get_rng_state()
    found = digits_vit(steps=120)
    assert torch.equal(torch.get_rng_state(), state)
    return found


def outputs(model, x):
    with torch.no_grad():
        return model(x)


@each
@pytest.mark.parametrize("circuits", [False, True])
def test_computes_the_same_at_other_inputs_too(make, width, layers, heads, circuits):
    model, (x, other) = made(make)
    found = canonical(model, x, circuits=circuits)
    assert found.change < 1e-12
    assert found.coordinates == ("circuits" if circuits else "folded")
    for data in (x, other):
        expected = outputs(model, data)
        assert (outputs(found.module, data) - expected).abs().max() < 1e-12 * expected.abs().max()
    assert not any(part.training for part in found.module.modules())
    assert not any(isinstance(part, nn.LayerNorm) for part in found.module.modules())
    kinds = {type(part) for part in found.module.modules()}
    assert bool(kinds & {Circuits, MultiheadCircuits}) is circuits


@each
def test_its_stream_may_be_rotated_and_its_heads_moved_by_any_matrix(make, width, layers, heads):
    model, (x, _) = made(make)
    before = derive(model, x)
    assert not any(g.level is Level.ORTHOGONAL and g.size == width for g in before.groups.values())
    folded = derive(canonical(model, x).module, x)
    assert [g.size for g in folded.groups.values() if g.level is Level.ORTHOGONAL] == [width]
    assert [g.size for g in folded.groups.values() if g.level is Level.GENERAL] == [width // heads] * 2 * layers
    circuits = derive(canonical(model, x, circuits=True).module, x)
    assert [g.size for g in circuits.groups.values() if g.level is Level.ORTHOGONAL] == [width]
    assert not any(g.level is Level.GENERAL for g in circuits.groups.values())
    assert [g.size for name, g in circuits.groups.items() if "qk" in name] == [heads] * layers * (heads > 1)
    assert folded.certificate.lowered == circuits.certificate.lowered == ()
    assert not folded.pinned
    assert not circuits.pinned


@each
def test_leaves_the_model_and_everything_else_alone(make, width, layers, heads):
    model, (x, _) = made(make, torch.float32)
    model.train()
    before, state, given = everything_about(model), torch.get_rng_state(), x.clone()
    tied = {id(p) for p in model.parameters()}
    found = canonical(model, x, circuits=True)
    assert same(before, everything_about(model))
    assert {id(p) for p in model.parameters()} == tied
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, given)
    assert {p.dtype for p in found.module.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in found.module.parameters())
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in found.module.parameters()}
    assert torch.allclose(outputs(found.module, x), outputs(model.eval(), x), rtol=1e-3, atol=1e-4)
    again = canonical(model, x, circuits=True)
    assert same(State.of(again.module).tensors, State.of(found.module).tensors)


def test_folds_and_centres_as_the_formulas_say():
    model, (x, _) = made(packed)
    old, new = State.of(model).parameters, State.of(canonical(model, x).module).parameters
    gain, shift = old["norm.weight"], old["norm.bias"]
    assert "norm.weight" not in new
    torch.testing.assert_close(new["head.weight"], old["head.weight"] @ gain.diag())
    torch.testing.assert_close(new["head.bias"], old["head.bias"] + old["head.weight"] @ shift)
    centre = torch.eye(8, dtype=torch.float64) - 1 / 8
    for name in ("embed", "blocks.0.attention.out", "blocks.1.mlp.2"):
        torch.testing.assert_close(new[f"{name}.weight"], centre @ old[f"{name}.weight"])
        torch.testing.assert_close(new[f"{name}.bias"], centre @ old[f"{name}.bias"])
    torch.testing.assert_close(new["position"], old["position"] @ centre)
    inside = ("blocks.1.mlp.0", "blocks.1.norm2")
    torch.testing.assert_close(new[f"{inside[0]}.weight"], old[f"{inside[0]}.weight"] * old[f"{inside[1]}.weight"])
    assert new.keys() == {name for name in old if "norm" not in name}


def test_circuits_are_the_products_of_the_weights():
    model, (x, _) = made(separate)
    folded = State.of(canonical(model, x).module).parameters
    circuits = State.of(canonical(model, x, circuits=True).module).parameters
    q, k, v, o = (folded[f"parts.5.{n}.weight"] for n in ("q", "k", "v", "o.0"))
    for head, rows in enumerate((slice(0, 2), slice(2, 4), slice(4, 6))):
        torch.testing.assert_close(circuits["parts.5.qk"][head], q[rows].T @ k[rows] / math.sqrt(2))
        torch.testing.assert_close(circuits["parts.5.ov"][head], (o[:, rows] @ v[rows]).T)
        offset = folded["parts.5.q.bias"][rows] @ k[rows] / math.sqrt(2)
        torch.testing.assert_close(circuits["parts.5.query_bias"][head], offset)
    torch.testing.assert_close(circuits["parts.5.bias"], o @ folded["parts.5.v.bias"])


def test_the_bias_of_a_key_is_a_null_direction():
    model, (x, _) = made(packed)
    other = copy.deepcopy(model)
    other.blocks[0].attention.qkv.bias.data[8:16] += 5
    torch.testing.assert_close(outputs(other, x), outputs(model, x), rtol=1e-10, atol=1e-10)
    one, two = (State.of(canonical(m, x, circuits=True).module).parameters for m in (model, other))
    torch.testing.assert_close(dict(one), dict(two), rtol=1e-10, atol=1e-10)


def test_gains_may_be_zero_and_norms_may_have_none():
    model, (x, _) = made(packed)
    model.norm.weight.data[2:4] = 0
    model.blocks[0].norm1 = nn.LayerNorm(8, elementwise_affine=False)
    model.blocks[1].norm2 = nn.LayerNorm(8, bias=False, dtype=torch.float64)
    found = canonical(model, x)
    assert found.change < 1e-12
    torch.testing.assert_close(outputs(found.module, x), outputs(model, x), rtol=1e-11, atol=1e-11)
    assert "gain of blocks.1.norm2 went into blocks.1.mlp.0.weight" in found.steps
    assert not any(step.startswith("gain") and "blocks.0.norm1" in step for step in found.steps)


class Offset(Scale):
    def forward(self, x):
        return x + self.gamma


class OnlyShift(Scale):
    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], eps=1e-6) + self.gamma


def test_what_only_shifts_is_no_scale_and_a_norm_may_only_shift():
    def make():
        return nn.Sequential(nn.Linear(3, 4), Offset(4), OnlyShift(4), nn.Linear(4, 2)), [torch.randn(5, 3)]

    model, (x,) = made(make)
    found = canonical(model, x)
    assert found.change < 1e-12
    assert found.steps == ("gain and shift of 2 went into 3.weight",)
    assert isinstance(found.module[1], Offset)


class Bent(Scale):
    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], eps=1e-6).relu() * self.gamma


def read_before_it_is_scaled():
    def forward(self, x):
        h = self.embed(x)
        return self.head(self.scale(h)) + self.other(h)

    parts = {"embed": nn.Linear(3, 4), "scale": Scale(4), "head": nn.Linear(4, 2), "other": nn.Linear(4, 2)}
    return Net(forward, **parts), [torch.randn(5, 3)]


def bent():
    return nn.Sequential(nn.Linear(3, 4), Bent(4), nn.Linear(4, 2)), [torch.randn(5, 3)]


def scaled_inputs():
    return nn.Sequential(Scale(3), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), [torch.randn(5, 3)]


@pytest.mark.parametrize("make", [read_before_it_is_scaled, bent, scaled_inputs])
def test_what_cannot_be_moved_stays(make):
    model, (x,) = made(make)
    found = canonical(model, x)
    assert (found.coordinates, found.change) == ("original", 0)
    assert same(State.of(model).tensors, State.of(found.module).tensors)


def test_a_layer_that_happens_to_be_diagonal_is_a_layer():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 2))
    model[1].weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0]).diag()
    assert canonical(model, torch.randn(5, 3)).steps == ()


def test_of_two_scales_in_a_row_one_is_moved():
    def make():
        return nn.Sequential(nn.Linear(3, 4), Scale(4), Scale(4), nn.Linear(4, 2)), [torch.randn(5, 3)]

    model, (x,) = made(make)
    assert canonical(model, x).steps == ("gain of 1 went into 0.weight, 0.bias",)


def test_a_model_may_write_into_its_input():
    def forward(self, x):
        return self.head(self.norm(self.embed(x.mul_(2))))

    def make():
        parts = {"embed": nn.Linear(3, 4), "norm": nn.LayerNorm(4), "head": nn.Linear(4, 2)}
        return Net(forward, **parts), [torch.randn(5, 3)]

    model, (x,) = made(make)
    before = x.clone()
    assert canonical(model, x).change < 1e-12
    assert torch.equal(x, before)


def test_what_reads_a_norm_twice_takes_its_gain_twice():
    def forward(self, x):
        h = self.norm(self.embed(x))
        return torch.einsum("bd,de,be->b", h, self.form, h)

    def make():
        return Net(forward, embed=nn.Linear(3, 4), norm=nn.RMSNorm(4), form=weight(4, 4)), [torch.randn(5, 3)]

    model, (x,) = made(make)
    found = canonical(model, x)
    assert found.change < 1e-12
    gain = model.norm.weight.diag()
    torch.testing.assert_close(found.module.form, gain @ model.form @ gain)


def test_two_models_have_one_architecture_whatever_their_values():
    shapes = []
    for shift in (0.0, 1.0):
        model, (x, _) = made(separate)
        for part in model.modules():
            if isinstance(part, nn.LayerNorm):
                part.bias.data.fill_(shift)
        shapes.append({n: p.shape for n, p in canonical(model, x, circuits=True).module.named_parameters()})
    assert shapes[0] == shapes[1]


def test_says_what_it_did():
    model, (x, _) = made(gpt)
    steps = canonical(model, x, circuits=True).steps
    assert steps[0] == "lm_head.weight is no longer tied to wte.weight"
    assert "gain and shift of h.0.ln_1 went into h.0.attn.c_attn.weight" in steps
    assert "ln_f divides by the root mean square only" in steps
    assert steps[-1] == "h.1.attn became circuits (heads: 1)"
    assert any("mean over features was taken out of wte.weight, wpe.weight" in step for step in steps)


def test_what_is_canonical_stays():
    found = canonical(*architectures.mlp())
    assert (found.coordinates, found.steps) == ("original", ())
    model, (x, _) = made(decoder)
    first = canonical(model, x)
    second = canonical(first.module, x)
    assert (second.coordinates, second.steps) == ("original", ())
    assert same(State.of(first.module).tensors, State.of(second.module).tensors)
    assert "folded coordinates" in repr(first)
    torch_rms, x = architectures.torch_rms_language_model()
    assert canonical(torch_rms, x, circuits=True).coordinates == "circuits"


@pytest.mark.parametrize("circuits", [False, True])
def test_a_planted_move_is_undone(trained, circuits):
    objective, a, _ = trained
    x = objective.data.batches[0][0][:4]
    found = canonical(a, x, circuits=circuits)
    objective = recast(objective, found)
    spec = derive(found.module, x)
    planted = spec.apply(spec.random(3), found.module)
    moved = align(found.module, planted, objective)
    naive = lw.sample(objective, lw.Line(found.module, planted), resolution=9).barrier().value
    aligned = lw.sample(objective, lw.Line(found.module, moved.state), resolution=9).barrier().value
    assert naive > 0.1
    assert aligned <= 1e-6
    assert moved.after < 1e-5 * moved.before
    only = align(found.module, planted, objective, spec=spec.restrict(Level.PERMUTATION))
    assert only.after > 0.3 * only.before  # a permutation is no rotation


def test_recast_measures_the_same(trained):
    objective, a, b = trained
    x = objective.data.batches[0][0][:4]
    ours, theirs = (canonical(model, x, circuits=True) for model in (a, b))
    new = recast(objective, ours)
    for split, other in ((objective, new), (objective.test, new.test)):
        assert other.names == ("loss", "error")
        assert other.split == split.split
        assert other.data.fingerprint == split.data.fingerprint
        for model, found in ((a, ours), (b, theirs)):
            assert other.measure(found.module) == pytest.approx(split.measure(model), rel=1e-4)
    assert recast(objective.test, ours).split == "test"
    assert recast(objective.test, ours).measure(theirs.module) == new.test.measure(theirs.module)


def test_recast_refuses_in_words():
    model, (x, _) = made(packed, torch.float32)
    found = canonical(model, x)
    data = x, torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match="all of whose parameters move, got one in which some parameters stay"):
        recast(lw.Objective(model, data, loss=F.cross_entropy, params="!embed.*"), found)
    assert recast(lw.Objective(model, data, loss=F.cross_entropy), found).samples == 3
    with pytest.raises(ValueError, match="got an analytic one"):
        recast(lw.Objective.from_function(lambda u: u.square().sum(1), dim=2), found)


def llama():
    """Rotary positions: the stream may be rotated, but scores are no bilinear form of tokens."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(8, 8, bias=False) for _ in range(4))

        def forward(self, x):
            angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] / torch.tensor([1.0, 5.0])
            q, k, v = (f(x).unflatten(-1, (2, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))

            def turned(t):
                a, b = t.chunk(2, -1)
                return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

            return self.o(F.scaled_dot_product_attention(turned(q), turned(k), v).transpose(1, 2).flatten(2))

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8))

        def forward(self, x):
            x = x.float()  # as language models do
            return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))

    def forward(self, ids):
        x = self.embed(ids)
        x = x + self.attn(self.norm1(x))
        return self.head(self.norm2(x))

    parts = {"embed": nn.Embedding(11, 8), "norm1": Norm(), "norm2": Norm(), "attn": Attention()}
    return Net(forward, **parts, head=nn.Linear(8, 11)), [torch.randint(0, 11, (2, 5))]


def raw_head():
    return architectures.affine_language_model()[0], [architectures.tokens()]


def no_last_norm():
    return architectures.encoder()[0], [architectures.tokens()]


def layer_scale():
    return architectures.vit()[0], [architectures.images()]


def fixed_positions():
    def forward(self, x):
        return self.head(self.norm(self.embed(x) + torch.linspace(0, 1, 6)))

    parts = {"embed": nn.Linear(4, 6), "norm": nn.LayerNorm(6), "head": nn.Linear(6, 2)}
    return Net(forward, **parts), [torch.randn(3, 5, 4)]


def last_output():
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6)), [torch.randn(3, 4)]


def norms_without_weights_in_a_row():
    norms = [nn.LayerNorm(6, elementwise_affine=False) for _ in range(2)]
    return nn.Sequential(nn.Linear(4, 6), *norms, nn.Linear(6, 2)), [torch.randn(3, 4)]


def into_a_nonlinearity():
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 2)), [torch.randn(3, 4)]


def two_norms_in_a_row():
    return nn.Sequential(nn.Linear(4, 6), nn.RMSNorm(6), nn.RMSNorm(6), nn.Linear(6, 2)), [torch.randn(3, 4)]


def summed_over_tokens():
    def forward(self, x):
        return self.head(self.norm(self.embed(x)).sum(1))

    parts = {"embed": nn.Linear(4, 6), "norm": nn.LayerNorm(6), "head": nn.Linear(6, 2)}
    return Net(forward, **parts), [torch.randn(3, 5, 4)]


def tied_in_its_forward():
    def forward(self, ids):
        return self.norm(self.embed(ids)) @ self.embed.weight.T

    return Net(forward, embed=nn.Embedding(11, 6), norm=nn.RMSNorm(6)), [torch.randint(0, 11, (2, 5))]


REFUSED = {
    TRANSFORMER.model: r"norm 'layer\.norm1' must be read by linear layers only.*layer\.linear2\.weight.* beside it",
    raw_head: r"norm 'norm' must be read by layers that can have a bias.*got 'head'\. Use nn\.Linear",
    no_last_norm: r"'1\.layers\.0\.norm1'.*got 2\.weight",
    layer_scale: r"'layers\.0\.norm1'.*got features used by mul in the model",
    fixed_positions: r"'norm' normalises.*fixed.*parameters",
    last_output: r"norm '1' must be read by linear layers only.*got features that are fixed \(an output",
    norms_without_weights_in_a_row: r"what '2' normalises must be written by parameters.*got 1\.",
    into_a_nonlinearity: r"norm '1' must be read by linear layers only.*features used by gelu",
    two_norms_in_a_row: r"norm '1' must be read by linear layers only.*got 2, which normalises again",
    summed_over_tokens: r"outputs must stay the same to 1e-10.*got a change of",
    tied_in_its_forward: r"norm 'norm' must be read by linear layers only.*got embed\.weight, which also writes",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: getattr(make, "__name__", "make"))
def test_refuses_by_name_what_cannot_be_folded(make):
    if make == TRANSFORMER.model:
        model, inputs = make(), [TRANSFORMER.samples()]
    else:
        model, inputs = made(make, torch.float32)
    before = everything_about(model)
    with pytest.raises(ValueError, match=re.compile(REFUSED[make], re.DOTALL)):
        canonical(model, inputs[0])
    assert same(before, everything_about(model))


def test_rotary_positions_fold_but_are_no_circuits():
    model, (x,) = made(llama, torch.float32)
    found = canonical(model, x)
    assert found.change < 1e-12
    assert derive(found.module, x).groups["embed"].level is Level.ORTHOGONAL
    with pytest.raises(ValueError, match=r"attention 'attn' must be.*no bilinear form.*Leave circuits out"):
        canonical(model, x, circuits=True)


def attention_in_the_forward():
    model, x = architectures.attention(
        lambda self, x: tuple(getattr(self, n)(self.norm(x)).unflatten(-1, (4, 3)).transpose(1, 2) for n in "qkv"),
        norm=nn.RMSNorm(5),
        **{n: nn.Linear(5, 12) for n in "qkv"},
    )
    model.o = nn.Linear(12, 5)
    return model, [x]


def two_kinds_of_tokens():
    def forward(self, x):
        x = self.embed(x)
        h = self.norm(x)
        return self.head(x.sum(1) + self.attn(h, h.flip(1), h.flip(1))[0].mean(1))

    parts = {"embed": nn.Linear(4, 6), "norm": nn.RMSNorm(6), "attn": nn.MultiheadAttention(6, 2, batch_first=True)}
    return Net(forward, **parts, head=nn.Linear(6, 2)), [torch.randn(3, 5, 4)]


def by_hand(mix):
    """Packed attention with its own way from scores to weights."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.o = nn.Linear(6, 18), nn.Linear(6, 6)

        def forward(self, x):
            q, k, v = (t.unflatten(-1, (2, 3)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
            return self.o((mix(q @ k.mT) @ v).transpose(1, 2).flatten(2))

    layers = [nn.Linear(4, 6), nn.RMSNorm(6), Attention(), nn.RMSNorm(6), nn.Linear(6, 2)]
    return nn.Sequential(*layers), [torch.randn(3, 5, 4)]


def distances_in_the_scores():
    t = torch.arange(5)
    slopes = (t - t[:, None]).abs() * torch.tensor([1.0, 0.5])[:, None, None]
    return by_hand(lambda scores: (scores - slopes).softmax(-1))


def no_softmax():
    return by_hand(torch.tanh)


def mask_as_argument():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.o = nn.Linear(6, 18), nn.Linear(6, 6)

        def forward(self, x, mask):
            q, k, v = (t.unflatten(-1, (2, 3)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
            return self.o(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def forward(self, x):
        return self.head(self.attn(self.norm(self.embed(x)), torch.ones(5, 5, dtype=torch.bool).tril()))

    parts = {"embed": nn.Linear(4, 6), "norm": nn.RMSNorm(6), "attn": Masked(), "head": nn.Linear(6, 2)}
    return Net(forward, **parts), [torch.randn(3, 5, 4)]


def one_token():
    return by_hand(lambda scores: scores.softmax(-1))[0], [torch.randn(3, 1, 4)]


NO_CIRCUITS = {
    mask_as_argument: r"attention 'attn' must be.*got other arguments or results",
    one_token: r"attention '2' must be.*got inputs that do not tell which \(a single token\?\)",
    attention_in_the_forward: r"attention 'model' must be a module.*got one that is part of a larger forward",
    two_kinds_of_tokens: r"attention 'attn' must be.*query, key and value must be one tensor",
    no_softmax: r"attention '2' must be.*got something else between its projections",
    distances_in_the_scores: r"attention '2\.qkv' must be.*got heads that are not free of each other",
    architectures.mlp: r"attention 'model'.*got none\. Leave circuits out",
}


@pytest.mark.parametrize("make", NO_CIRCUITS, ids=lambda make: make.__name__)
def test_refuses_by_name_what_is_no_sum_of_circuits(make):
    torch.manual_seed(0)
    model, x = make()
    with pytest.raises(ValueError, match=re.compile(NO_CIRCUITS[make], re.DOTALL)):
        canonical(model.eval(), x[0] if isinstance(x, list) else x, circuits=True)


def test_multihead_circuits_take_one_tensor_and_one_mask():
    model, (x, _) = made(encoder)
    attention = canonical(model, x, circuits=True).module.body.layers[0].self_attn
    h = torch.randn(2, 5, 6, dtype=torch.float64)
    assert attention(h, h, h)[0].shape == h.shape
    for arguments in (
        {"key": h.clone(), "value": h},
        {"key": h, "value": h.clone()},
        {"key": h, "value": h, "key_padding_mask": torch.zeros(2, 5, dtype=torch.bool)},
        {"key": h, "value": h, "attn_mask": torch.zeros(4, 5, 5)},
    ):
        with pytest.raises(ValueError, match="must be one tensor, with one mask for all examples and heads"):
            attention(h, **arguments)


def test_the_demo_is_trained_and_repeatable(trained):
    objective, a, b = trained
    assert (len(objective.data), len(objective.test.data)) == (1438, 359)
    assert objective.test.measure(a)["error"] < 0.25
    assert not torch.equal(a.head.weight, b.head.weight)
    again, other = digits_vit((0, 7), steps=2)[1:]
    assert same(State.of(again).tensors, State.of(digits_vit((0, 8), steps=2)[1]).tensors)
    assert not same(State.of(again).tensors, State.of(other).tensors)
    assert digits_vit(steps=1, held_out=0)[0].test is None


def test_the_demo_cuts_images_into_patches():
    model = DigitsTransformer()
    image = torch.zeros(8, 8)
    image[2:4, 4:6] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])  # row 1, column 2 of the 4 x 4 patches
    seen = []
    model.embed.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(image.reshape(1, 64))
    assert seen[0].shape == (1, 16, 4)
    assert seen[0][0, 6].tolist() == [1, 2, 3, 4]
    assert seen[0].sum() == 10
