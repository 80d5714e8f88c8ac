"""Attention as matrix products: the numbers of torch's own, second derivatives, and nothing that other threads see."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import _python_dispatch

import lwidgets as lw
from lwidgets.attention import PlainAttention
from lwidgets.gradients import DifferentiableLoss
from lwidgets.symmetry import canonical, certify, derive
from tests.models import TRANSFORMER


def by_hand(q, k, v, mask=None, is_causal=False, scale=None):
    """Softmax of the scores, one query after another."""
    rows = []
    for i in range(q.shape[-2]):
        scores = (q[..., i : i + 1, :] * k).sum(-1) * (q.shape[-1] ** -0.5 if scale is None else scale)
        if mask is not None:
            scores = scores.masked_fill(~mask[i], -torch.inf) if mask.dtype == torch.bool else scores + mask[i]
        if is_causal:
            scores[..., i + 1 :] = -torch.inf
        shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
        rows.append((shares[..., None] * v).sum(-2))
    return torch.stack(rows, dim=-2)


@pytest.mark.parametrize("option", ["plain", "causal", "added", "allowed", "scaled"])
def test_attention_is_the_softmax_of_scores_by_hand(option):
    q, k, v = torch.randn(3, 2, 3, 5, 4, dtype=torch.float64)
    options = {
        "plain": {},
        "causal": {"is_causal": True},
        "added": {"attn_mask": torch.randn(5, 5, dtype=torch.float64)},
        "allowed": {"attn_mask": torch.ones(5, 5).tril().bool()},
        "scaled": {"scale": 0.3},
    }[option]
    expected = by_hand(q, k, v, options.get("attn_mask"), options.get("is_causal", False), options.get("scale"))
    with PlainAttention():
        found = F.scaled_dot_product_attention(q, k, v, **options)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_torchs_own_layers_compute_the_same_and_have_second_derivatives():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).double().eval()
    for call in (
        lambda: attention(x, x, x, need_weights=False, attn_mask=mask)[0],
        lambda: attention(x, x, x, key_padding_mask=padding, need_weights=False)[0],
        lambda: layer(x, src_mask=mask),
        lambda: nn.TransformerEncoder(layer, 2)(x),
    ):
        with torch.no_grad():
            expected = call()
        with PlainAttention():
            found = call()
            (slope,) = torch.autograd.grad(found.square().sum(), x, create_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        (bend,) = torch.autograd.grad(slope.square().sum(), x)
        assert bool(bend.isfinite().all())
        assert bool(bend.any())


def switches():
    """What torch keeps for the whole process."""
    return (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        _python_dispatch.is_in_torch_dispatch_mode(),
        _python_dispatch.is_in_torch_dispatch_mode(include_infra_modes=False),
        bytes(torch.get_rng_state().numpy()),
    )


class Draws(nn.Module):
    """Draws in every way there is, and does not use it."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        h = torch.relu(self.one(x))
        F.dropout(h, 0.5, training=True)
        torch.normal(h, 1.0), torch.rand(3), torch.randint(3, (2,)), torch.bernoulli(h.sigmoid()), torch.randn(4)
        torch.empty(3).uniform_(), torch.multinomial(h.softmax(-1), 1), nn.Linear(2, 2)
        return self.two(h)


def test_nothing_of_the_process_changes_while_a_worker_traces_certifies_and_differentiates():
    torch.manual_seed(3)
    objective = TRANSFORMER.objective(torch.float64)
    model, other = (TRANSFORMER.model(seed, torch.float64) for seed in range(2))
    state = lw.State.of(model)
    stream = nn.Sequential(
        nn.Linear(3, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), nn.LayerNorm(8)
    )
    stream.append(nn.Linear(8, 2))
    tokens, x, draws = TRANSFORMER.samples()[:3, :-1], torch.randn(2, 5, 3), Draws()
    before = switches()
    failed, seen, found = [], set(), {}

    def work():
        try:
            found["groups"] = derive(model, tokens).groups
            certify(model, derive(model, tokens, certify=False), tokens)
            found["circuits"] = canonical(stream, x, circuits=True).coordinates
            found["draws"] = derive(draws, x[0]).groups
            loss = DifferentiableLoss(objective, state)
            loss.hessian_product(state.parameters, state.parameters)
            lw.align(model, other, objective, "activations")
            lw.merging.regmean(model, other, objectives=objective)
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        seen.add(switches())
        worker.join(0.001)
    assert not failed
    assert seen <= {before}
    assert switches() == before
    assert found["circuits"] == "circuits"
    assert found["groups"] == derive(model, tokens).groups
    assert list(found["draws"]) == ["one"]


def test_a_model_that_draws_is_found_out_and_the_users_stream_stays():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 2)

        def forward(self, x):
            return self.one(x) + torch.rand(2)

    model, before = Noisy(), switches()
    for ask in (derive, canonical):
        with pytest.raises(ValueError, match=r"same"):
            ask(model, torch.ones(4, 3))
    assert switches() == before
