"""What people put in, kind by kind: values are those of a plain float64 loop over single samples.

Every kind comes as batches of which the last is odd, from a loader that shuffles, with the device named, and with each
batch wrapped in an object of the user's own.
"""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence, pad_sequence
from torch.utils.data import DataLoader

import lwidgets as lw

RELATIVE = 1e-6
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@dataclass(frozen=True)
class Kind:
    """A model, its samples, how they become a batch, and the loss in two ways.

    Attributes:
        model: Made by a seed.
        samples: All of them.
        collate: Samples to a batch.
        loss: loss(model, batch), as a user writes it.
        plain: (model, samples) to the loss on all of them, one sample at a time.
        size: Samples in a batch.
        options: Of the objective.
    """

    model: Callable[[], nn.Module]
    samples: Callable[[], list[Any]]
    collate: Callable[[list[Any]], Any]
    loss: Callable[[nn.Module, Any], torch.Tensor]
    plain: Callable[[nn.Module, list[Any]], torch.Tensor]
    size: int = 4
    options: dict[str, Any] = field(default_factory=dict)


def by_sample(one):
    """The mean of a loss over single samples."""
    return lambda model, samples: torch.stack([one(model, s).double() for s in samples]).mean()


def stacked(samples):
    return tuple(torch.stack(column) for column in zip(*samples, strict=True))


def rows(count, *shape, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(*shape, generator=g, dtype=torch.float64), torch.randint(classes, (), generator=g))
        for _ in range(count)
    ]


# vision ------------------------------------------------------------------------------------------------------------


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.conv = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3, padding=1),
        )
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        return self.head((x + F.relu(self.conv(x))).mean(dim=(2, 3)))


def classified(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


VISION = Kind(
    Vision,
    lambda: rows(10, 1, 6, 6),
    stacked,
    classified,
    by_sample(lambda model, s: F.cross_entropy(model(s[0][None])[0], s[1])),
)


def timm_kind():
    timm = pytest.importorskip("timm")
    return Kind(
        lambda: timm.create_model("resnet10t", num_classes=3, in_chans=1),
        lambda: rows(10, 1, 32, 32),
        stacked,
        classified,
        by_sample(lambda model, s: F.cross_entropy(model(s[0][None])[0], s[1])),
    )


# language ----------------------------------------------------------------------------------------------------------


def texts():
    g = torch.Generator().manual_seed(1)
    return [torch.randint(1, 20, (n,), generator=g) for n in (3, 8, 5, 8, 2, 7, 4, 8, 6, 3)]


def padded(samples):
    ids = pad_sequence(list(samples), batch_first=True)
    short = torch.nn.functional.pad(ids, (0, 8 - ids.shape[1]))  # as a tokenizer with padding="max_length"
    mask = (short != 0).long()
    return {"input_ids": short, "attention_mask": mask, "labels": short.masked_fill(mask == 0, -100)}


def over_tokens(model, samples):
    """The sum over all tokens of all samples, by their number."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for ids in samples:
        scores = model(input_ids=ids[None]).logits[0]
        total = total + F.cross_entropy(scores[:-1].double(), ids[1:], reduction="sum")
        count += len(ids) - 1
    return total / count


def causal(**options):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0, **options
    )
    return transformers.GPT2LMHeadModel(config)


def language_kind():
    pytest.importorskip("transformers")
    return Kind(
        causal,
        texts,
        padded,
        lambda model, b: model(**b).loss,
        over_tokens,
        options={"weight": lw.weights.tokens(shifted=True)},
    )


def unasked_language_kind():
    """The weights are found: those of shifted tokens are the ones that agree."""
    pytest.importorskip("transformers")
    return Kind(causal, texts, padded, lambda model, b: model(**b).loss, over_tokens)


def adapted_kind():
    peft = pytest.importorskip("peft")

    def model():
        config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name of old
            adapted = peft.get_peft_model(causal(), config)
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(p, std=0.3)
        return adapted

    return Kind(
        model,
        texts,
        padded,
        lambda model, b: model(**b).loss,
        over_tokens,
        options={"weight": lw.weights.tokens(shifted=True), "params": "*lora*"},
    )


# graphs ------------------------------------------------------------------------------------------------------------


def graphs_kind(*, nodes=False):
    data = pytest.importorskip("torch_geometric.data")
    conv = pytest.importorskip("torch_geometric.nn")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = conv.GCNConv(3, 4), nn.Linear(4, 2)

        def forward(self, d):
            x = torch.relu(self.conv(d.x, d.edge_index))
            return self.head(x if nodes else conv.global_mean_pool(x, d.batch))

    def samples():
        g = torch.Generator().manual_seed(2)
        made = []
        for n in (3, 5, 2, 4, 6, 3, 2, 5, 4, 3):
            edges = torch.randint(n, (2, 2 * n), generator=g)
            y = torch.randint(2, (n if nodes else 1,), generator=g)
            made.append(data.Data(x=torch.randn(n, 3, generator=g, dtype=torch.float64), edge_index=edges, y=y))
        return made

    def plain(model, samples):
        each = [F.cross_entropy(model(data.Batch.from_data_list([s])).double(), s.y, reduction="none") for s in samples]
        return torch.cat(each).mean()

    return Kind(Net, samples, data.Batch.from_data_list, lambda model, d: F.cross_entropy(model(d), d.y), plain)


# physics, generation, contrast -------------------------------------------------------------------------------------


def residual(model, batch):
    x = batch.requires_grad_()
    (first,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    return (second + x.sin()).square().mean()


PHYSICS = Kind(
    lambda: nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)),
    lambda: list(torch.linspace(0, 3, 10, dtype=torch.float64)[:, None]),
    torch.stack,
    residual,
    by_sample(lambda model, x: residual(model, x[None].clone())),
)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x, noise):
        mean, spread = self.encode(x).chunk(2, dim=-1)
        return self.decode(mean + spread.exp() * noise), mean, spread


def evidence(model, batch):
    """The negative lower bound; the noise is part of the data."""
    x, noise = batch
    out, mean, spread = model(x, noise)
    divergence = 0.5 * (mean.square() + (2 * spread).exp() - 2 * spread - 1).sum(dim=-1)
    return ((out - x).square().sum(dim=-1) + divergence).mean()


def noisy_rows():
    g = torch.Generator().manual_seed(3)
    return [tuple(torch.randn(n, generator=g, dtype=torch.float64) for n in (6, 2)) for _ in range(10)]


GENERATION = Kind(
    Autoencoder, noisy_rows, stacked, evidence, by_sample(lambda model, s: evidence(model, (s[0][None], s[1][None])))
)


def contrast(model, batch):
    a, b = (F.normalize(model(x), dim=1) for x in batch)
    return F.cross_entropy(a @ b.T / 0.5, torch.arange(len(a), device=a.device))


def plain_contrast(model, samples):
    a, b = (torch.stack([F.normalize(model(s[i][None])[0], dim=0) for s in samples]) for i in (0, 1))
    each = [
        torch.logsumexp(torch.stack([a[i] @ b[j] / 0.5 for j in range(len(b))]), 0) - a[i] @ b[i] / 0.5
        for i in range(len(a))
    ]
    return torch.stack(each).mean()


def pairs():
    g = torch.Generator().manual_seed(4)
    return [tuple(torch.randn(6, generator=g, dtype=torch.float64) for _ in range(2)) for _ in range(10)]


CONTRAST = Kind(lambda: nn.Linear(6, 3), pairs, stacked, contrast, plain_contrast, size=10)


# pictures of pictures, lists, sequences ----------------------------------------------------------------------------


def masks():
    g = torch.Generator().manual_seed(5)
    made = []
    for i in range(10):
        target = torch.randint(3, (5, 5), generator=g)
        target[: i % 4] = 255  # a border that does not count
        made.append((torch.randn(1, 5, 5, generator=g, dtype=torch.float64), target))
    return made


def plain_segmentation(model, samples):
    each = [F.cross_entropy(model(x[None]), y[None], ignore_index=255, reduction="sum") for x, y in samples]
    return sum(each) / sum(int((y != 255).sum()) for _, y in samples)


SEGMENTATION = Kind(
    lambda: nn.Conv2d(1, 3, 3, padding=1),
    masks,
    stacked,
    lambda model, b: F.cross_entropy(model(b[0]), b[1], ignore_index=255),
    plain_segmentation,
    options={"weight": lw.weights.tokens(255)},
)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.box = nn.Conv2d(1, 4, 3), nn.Linear(4, 4)

    def forward(self, images):
        return [self.box(torch.relu(self.conv(image[None])).mean(dim=(0, 2, 3))) for image in images]


def boxes(model, batch):
    images, targets = batch
    found = model(images)
    each = [(box - target["boxes"]).abs().mean() for box, target in zip(found, targets, strict=True)]
    return torch.stack(each).mean()


def scenes():
    g = torch.Generator().manual_seed(6)
    return [
        (
            torch.randn(1, 4 + i % 3, 6 - i % 2, generator=g, dtype=torch.float64),
            {"boxes": torch.rand(1 + i % 3, 4, generator=g, dtype=torch.float64), "name": f"scene {i}"},
        )
        for i in range(10)
    ]


DETECTION = Kind(
    Detector,
    scenes,
    lambda samples: tuple(map(list, zip(*samples, strict=True))),
    boxes,
    by_sample(lambda model, s: (model([s[0]])[0] - s[1]["boxes"]).abs().mean()),
)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 4), nn.Linear(4, 3)

    def forward(self, packed):
        return self.head(self.rnn(packed)[1][0])


def sequences():
    g = torch.Generator().manual_seed(7)
    return [
        (torch.randn(1 + i % 4, 2, generator=g, dtype=torch.float64), torch.randint(3, (), generator=g))
        for i in range(10)
    ]


RECURRENT = Kind(
    Recurrent,
    sequences,
    lambda samples: (
        pack_sequence([x for x, _ in samples], enforce_sorted=False),
        torch.stack([y for _, y in samples]),
    ),
    classified,
    by_sample(lambda model, s: F.cross_entropy(model(pack_sequence([s[0]]))[0], s[1])),
)


class Reconstruction(nn.Module):
    """What is looked for is the input."""

    def __init__(self):
        super().__init__()
        self.picture = nn.Parameter(torch.randn(4, 4, dtype=torch.float64))

    def forward(self, views):
        return torch.einsum("nij,ij->n", views, self.picture)


INPUTS = Kind(
    Reconstruction,
    lambda: rows(10, 4, 4),
    stacked,
    lambda model, b: (model(b[0]) - b[1]).square().mean(),
    by_sample(lambda model, s: ((s[0] * model.picture).sum() - s[1]).square()),
)

KINDS = {
    "vision": lambda: VISION,
    "timm": timm_kind,
    "token-weighted language model": language_kind,
    "language model, weights found": unasked_language_kind,
    "adapters": adapted_kind,
    "graphs": graphs_kind,
    "nodes of graphs": lambda: graphs_kind(nodes=True),
    "physics-informed": lambda: PHYSICS,
    "generation with frozen noise": lambda: GENERATION,
    "contrastive": lambda: CONTRAST,
    "segmentation": lambda: SEGMENTATION,
    "detection lists": lambda: DETECTION,
    "packed sequences": lambda: RECURRENT,
    "inputs as parameters": lambda: INPUTS,
}


class Holder:
    """A user's own batch: no dataclass, no mapping, a lock inside."""

    def __init__(self, content):
        self.content = content
        self.note = ["anything"]


def in_batches(kind):
    samples = kind.samples()
    return [kind.collate(samples[i : i + kind.size]) for i in range(0, len(samples), kind.size)]


WAYS = {
    "odd last batch": lambda kind: (in_batches(kind), kind.loss, {}),
    "shuffling loader": lambda kind: (
        DataLoader(kind.samples(), kind.size, shuffle=True, collate_fn=kind.collate),
        kind.loss,
        {},
    ),
    **{
        f"device {device}": lambda kind, device=device: (in_batches(kind), kind.loss, {"device": device})
        for device in DEVICES
    },
    "objects": lambda kind: ([Holder(b) for b in in_batches(kind)], lambda model, b: kind.loss(model, b.content), {}),
}


@pytest.mark.filterwarnings("ignore:sample. b. .* is at its place but for what does not move")  # the adapted models
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", KINDS)
def test_values_are_those_of_a_plain_loop(name, way):
    kind = KINDS[name]()
    torch.manual_seed(0)
    a, b = (kind.model().double().eval() for _ in range(2))
    data, loss, options = WAYS[way](kind)
    options = {**kind.options, **options}
    if way == "objects" and "weight" in options:
        options["weight"] = lambda held, weight=options["weight"]: weight(held.content)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing is to be said about any of them
        if way == "objects" and name == "language model, weights found":
            pytest.skip("where the labels are in an object has to be said: weight=")
        objective = lw.Objective(a, data, loss=loss, **options)
    landscape = lw.sample(objective, lw.Line(a, b), resolution=3, tolerance=0)
    moved = set(objective.space.moved)
    for alpha, value in zip(landscape.coords[0], landscape.values["loss"], strict=True):
        here = copy.deepcopy(a)
        with torch.no_grad():
            ends = dict(b.named_parameters())
            for key, p in here.named_parameters():
                if key in moved:
                    p.lerp_(ends[key], float(alpha))
        if name == "vision":  # recalibrated at every point: one pass over the batches, each of which counts the same
            objective_here = objective.model_at(lw.State.of(here), landscape.provenance["batchnorm"])
            here.load_state_dict(objective_here.cpu().state_dict())
        assert value == pytest.approx(kind.plain(here, kind.samples()).item(), rel=RELATIVE)


def test_policy_return_by_from_function():
    """The return of a linear policy on a line, summed over ten steps, for many policies at once."""

    def episode(theta):
        state, total = torch.full((len(theta),), 1.0, dtype=torch.float64), 0
        for _ in range(10):
            state = state + 0.1 * torch.tanh(theta[:, 0] * state + theta[:, 1])
            total = total + state.square()
        return total

    def plain(x, y):
        state, total = 1.0, 0.0
        for _ in range(10):
            state = state + 0.1 * np.tanh(x * state + y)
            total += state**2
        return total

    objective = lw.Objective.from_function(episode, 2)
    landscape = lw.sample(objective, lw.Subspace.identity(2), resolution=(5, 3), tolerance=0)
    for i, x in enumerate(landscape.coords[0]):
        for j, y in enumerate(landscape.coords[1]):
            assert landscape.values["loss"][i, j] == pytest.approx(plain(x, y), rel=RELATIVE)
