"""What a batch counts is compared with what the loss does: right weights, a word where there are none, no guess."""

import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lwidgets as lw

torch.manual_seed(0)
X, Y = torch.randn(22, 6, dtype=torch.float64), torch.randint(3, (22,))
CLASSES = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
TOKENS, LABELS = torch.randint(7, (22, 8)), torch.randint(7, (22, 8))
for i in range(22):
    LABELS[i, 1 + i % 5 :] = -100


def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()


def embedding():
    torch.manual_seed(1)
    return nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 7)).double()


class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.rnn, self.out = nn.LSTM(2, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x)[0])


def tokenwise(output, target):
    return F.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=-100)


def made(model, data, loss, **options):
    """The loss, and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        objective = lw.Objective(model, data, loss=loss, **options)
    return objective, [str(w.message) for w in said]


def value(objective):
    return objective.measure(objective.module)["loss"]


@pytest.mark.parametrize("size", [22, 8, 3, 1])
@pytest.mark.parametrize("told", [False, True])
def test_a_mean_over_tokens_is_that_of_all_tokens_whatever_the_batch_size(size, told):
    model, labels = embedding(), LABELS.clone()
    labels[3] = -100  # a sequence without any token: a batch of its own is nan, and counts nothing
    loader = DataLoader(TensorDataset(TOKENS, labels), size, shuffle=told)
    objective, said = made(model, loader, tokenwise, weight=lw.weights.tokens() if told else None)
    assert not said
    with torch.no_grad():
        output, counted = model(TOKENS), labels != -100
        plain = -output.log_softmax(-1)[counted].gather(1, labels[counted][:, None]).mean()
    assert value(objective) == pytest.approx(plain.item(), rel=1e-12)
    landscape = lw.sample(objective, lw.Line.random(model), resolution=3, tolerance=0)
    assert landscape.nonfinite == 0


@pytest.mark.parametrize("size", [1, 4])
def test_tokens_are_found_where_all_are_alike_within_every_batch(size):
    model, labels = embedding(), torch.randint(7, (40, 8))
    labels[20:24, 3:] = -100
    objective, said = made(model, DataLoader(TensorDataset(torch.randint(7, (40, 8)), labels), size), tokenwise)
    assert not said
    assert objective.data.weights[20 // size] == 3 * size
    assert objective.data.weights[0] == 8 * size


@pytest.mark.parametrize("strategy", ["loop", "traced", "folded"])
def test_every_strategy_weighs_alike_and_leaves_out_what_counts_nothing(strategy):
    from lwidgets.sampling.evaluate import Local

    model, labels = embedding(), LABELS.clone()
    labels[3] = -100
    objective, _ = made(model, [(TOKENS[a:b], labels[a:b]) for a, b in ((0, 3), (3, 4), (4, 22))], tokenwise)
    line = lw.Line.random(model).bound(objective.space, objective.device)
    coefficients = line.coefficients(torch.tensor([[0.3], [-0.4]]).numpy())
    (a, b) = (row[0] for row in Local(objective, line.basis, "none", strategy=strategy)(coefficients))
    for alpha, found in ((0.3, a), (-0.4, b)):
        whole = lw.Objective(model, [(TOKENS, labels)], loss=tokenwise)
        assert found == pytest.approx(whole.measure(line.point([alpha]))["loss"], rel=1e-7)


@pytest.mark.parametrize("axis", ["time first", "batch first, labels alone", "as many steps as sequences"])
def test_samples_lie_along_the_axis_along_which_the_loss_is_a_mean(axis):
    torch.manual_seed(2)
    model = TimeFirst().double()
    steps = 8 if axis == "as many steps as sequences" else 5
    x, y = torch.randn(steps, 22, 2, dtype=torch.float64), torch.randint(3, (steps, 22))
    last = axis == "batch first, labels alone"

    def loss(output, target):
        return F.cross_entropy(output[-1], target) if last else F.cross_entropy(output.flatten(0, 1), target.flatten())

    target = y[-1] if last else y
    batches = [(x[:, i : i + 8], target[..., i : i + 8]) for i in (0, 8, 16)]
    objective, said = made(model, batches, loss)
    assert not said
    assert objective.data.sizes == objective.data.weights == (8, 8, 6)
    assert value(objective) == pytest.approx(loss(model(x), target).item(), rel=1e-12)


def test_a_loss_that_is_a_mean_along_two_axes_counts_every_entry():
    model = embedding()
    sizes = [(5, 8), (5, 8), (5, 6)]
    torch.manual_seed(3)
    batches = [(torch.randint(7, s), torch.randint(7, s)) for s in sizes]
    objective, said = made(model, batches, tokenwise)
    assert not said
    flat = [torch.cat([part[i].flatten() for part in batches]) for i in (0, 1)]
    assert value(objective) == pytest.approx(F.cross_entropy(model(flat[0]), flat[1]).item(), rel=1e-12)


@dataclass
class Graphs:
    x: torch.Tensor
    graph: torch.Tensor
    y: torch.Tensor


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.node, self.out = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, b):
        pooled = torch.zeros(len(b.y), 4, dtype=b.x.dtype).index_add(0, b.graph, torch.relu(self.node(b.x)))
        return self.out(pooled)


def graphs(sizes, seed):
    g = torch.Generator().manual_seed(seed)
    n = sum(sizes)
    which = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return Graphs(
        torch.randn(n, 3, generator=g, dtype=torch.float64), which, torch.randint(2, (len(sizes),), generator=g)
    )


@pytest.mark.parametrize("keyword", [False, True])
def test_objects_that_cannot_be_divided_are_compared_behind_the_model(keyword):
    model = Pooled().double()
    batches = [graphs([3, 4, 2], 0), graphs([2, 2, 5], 1), graphs([4], 2)]

    def loss(model, b):
        return F.cross_entropy(model(b=b) if keyword else model(b), b.y)

    objective, said = made(model, batches, loss)
    assert not said
    assert objective.data.weights == (3, 3, 1)
    assert not objective.data.additive
    with torch.no_grad():
        plain = torch.cat([F.cross_entropy(model(b), b.y, reduction="none") for b in batches]).mean()
    assert value(objective) == pytest.approx(plain.item(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_rounding_is_no_reason_for_a_word(dtype):
    objective, said = made(mlp().to(dtype), DataLoader(TensorDataset(X.to(dtype), Y), 5), F.cross_entropy)
    assert not said
    assert objective.data.additive


def rms(output, target):
    return F.cross_entropy(output, target).sqrt()


def dice(output, target):
    p = output.softmax(1)
    return 1 - 2 * p.gather(1, target[:, None]).sum() / (p.square().sum() + len(target))


def contrastive(output, target):
    return F.cross_entropy(output @ output.T, torch.arange(len(output)))


NO_MEANS = {
    "sum": nn.CrossEntropyLoss(reduction="sum"),
    "root of a mean": rms,
    "dice": dice,
    "contrastive": contrastive,
    "class weights, out of sight": lambda o, t: F.cross_entropy(o, t, weight=CLASSES),
    "the largest": lambda o, t: F.cross_entropy(o, t, reduction="none").max(),
}


@pytest.mark.parametrize("name", NO_MEANS)
def test_what_is_no_mean_over_samples_is_said_with_both_values_and_data_stay_whole(name):
    loss, model = NO_MEANS[name], mlp()
    batches = [(X[:9], Y[:9]), (X[9:], Y[9:])]
    objective, said = made(model, batches, loss)
    assert len(said) == 1
    assert "loss is no mean over samples" in said[0]
    with torch.no_grad():
        assert f"{loss(model(X[:9]), Y[:9]).item():.6g} on a whole" in said[0]
        assert (name == "sum") == ("reduction='mean'" in said[0])
        whole = loss(model(X), Y).item()
    assert objective.part(4) is None
    # the ways out: one whole batch, data given whole, weights or (sum, count)
    for data in ([(X, Y)], (X, Y), TensorDataset(X, Y)):
        objective, said = made(model, data, loss)
        assert not said
        assert value(objective) == pytest.approx(whole, rel=1e-12)
        assert objective.part(4) is None
    objective, said = made(model, batches, loss, weight=1)
    assert not said
    assert value(objective) == pytest.approx(sum(loss(model(x), y).item() for x, y in batches) / 2, rel=1e-12)


def test_data_given_whole_are_divided_only_where_the_loss_allows(monkeypatch):
    monkeypatch.setattr("lwidgets.data._BATCH_ENTRIES", 30)
    monkeypatch.setattr("lwidgets.data._READ", 7)
    model = mlp()
    for data in ((X, Y), TensorDataset(X, Y)):
        objective, said = made(model, data, F.cross_entropy)
        assert not said
        assert len(objective.data.batches) > 1
        for loss in NO_MEANS.values():
            objective, said = made(model, data, loss)
            assert not said
            assert len(objective.data.batches) == 1
            assert value(objective) == pytest.approx(loss(model(X), Y).item(), rel=1e-12)


@pytest.mark.parametrize("size", [1, 4, 22])
def test_class_weights_of_a_torch_loss_are_found_and_others_can_be_told(size):
    model, loss = mlp(), nn.CrossEntropyLoss(weight=CLASSES)
    loader = DataLoader(TensorDataset(X, Y), size, shuffle=True)
    for options in ({"loss": loss}, {"loss": lambda o, t: loss(o, t), "weight": lw.weights.tokens(classes=CLASSES)}):
        objective, said = made(model, loader, **options)
        assert not said
        assert value(objective) == pytest.approx(loss(model(X), Y).item(), rel=1e-12)


def test_a_sum_and_a_count_may_be_returned():
    model = mlp()

    def loss(output, target):
        kept = target > 0
        return F.cross_entropy(output[kept], target[kept], reduction="sum"), kept.sum()

    plain = F.cross_entropy(model(X[Y > 0]), Y[Y > 0]).item()
    for size in (1, 4, 22):
        objective, said = made(model, DataLoader(TensorDataset(X, Y), size), loss)
        assert not said
        assert value(objective) == pytest.approx(plain, rel=1e-12)
    objective, _ = made(
        model, DataLoader(TensorDataset(X, Y), 4), lambda o, t: (F.cross_entropy(o, t) * len(t), len(t))
    )
    assert value(objective) == pytest.approx(F.cross_entropy(model(X), Y).item(), rel=1e-12)
    slope = lw.gradients.DifferentiableLoss(objective, lw.State.of(model)).gradient(dict(model.named_parameters()))
    model.zero_grad()
    F.cross_entropy(model(X), Y).backward()
    assert torch.allclose(slope["0.weight"], model[0].weight.grad, rtol=1e-12)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 2], r"a number for each batch, got 2 for 3 batches"),
        ([1, -1, 2], r"finite, never negative"),
        ([0, 0, 0], r"positive for some batch"),
        (lambda b: float("nan"), r"finite, never negative"),
        (lambda b: b[0], r"must give a number for a batch, got Tensor"),
    ],
)
def test_weights_that_are_none_are_refused(weight, message):
    batches = list(zip(X.split(8), Y.split(8), strict=True))
    with pytest.raises(ValueError, match=message):
        lw.Objective(mlp(), batches, loss=F.cross_entropy, weight=weight)


@pytest.mark.parametrize(
    "weight", [[8, 8, 6], lambda b: len(b[1]), [4, 4, 3]], ids=["sizes", "function", "in proportion"]
)
def test_told_weights_that_are_the_samples_change_nothing(weight):
    batches = list(zip(X.split(8), Y.split(8), strict=True))
    objective, said = made(mlp(), batches, F.cross_entropy, weight=weight)
    assert not said
    assert value(objective) == pytest.approx(F.cross_entropy(mlp()(X), Y).item(), rel=1e-12)
    assert objective.data.additive
    assert objective.part(5) is not None


def test_a_told_function_that_does_not_fit_the_loss_is_said_and_kept():
    batches = list(zip(X.split(8), Y.split(8), strict=True))
    objective, said = made(mlp(), batches, F.cross_entropy, weight=lambda b: b[1].sum())
    assert "no mean over what weight= counts" in said[0]
    assert objective.data.weights == tuple(float(y.sum()) for _, y in batches)
    # what does not add up, as the seeds of a sampled neighbourhood, cannot be compared, and is taken as it is
    objective, said = made(mlp(), batches, F.cross_entropy, weight=lambda b: 1)
    assert not said
    assert objective.data.weights == (1, 1, 1)


def test_what_cannot_be_told_is_asked_for_with_the_sizes_and_both_ways_work():
    batches = [{"inside": X, "edge": X[:4]}, {"inside": X[:6], "edge": X[:5]}]

    def loss(model, b):
        return model(b["inside"]).square().mean() + model(b["edge"]).square().mean()

    with pytest.raises(ValueError, match=r"must tell how many samples each batch has.*\(22, 6\), \(4, 6\)") as caught:
        lw.Objective(mlp(), batches, loss=loss)
    assert "weight=lambda batch: len(batch.y), lw.weights" in str(caught.value)
    assert "weight=1 where all batches count the same; or all data as one whole batch, data=[batch]" in str(
        caught.value
    )
    assert value(made(mlp(), batches, loss, weight=1)[0]) > 0
    assert value(made(mlp(), batches, loss, weight=lambda b: len(b["inside"]))[0]) > 0
    assert value(made(mlp(), batches[:1], loss)[0]) == pytest.approx(loss(mlp(), batches[0]).item())


def test_a_metric_that_is_no_mean_is_named():
    batches = list(zip(X.split(8), Y.split(8), strict=True))
    with pytest.warns(UserWarning, match="root is no mean over samples"):
        lw.Objective(mlp(), batches, loss=F.cross_entropy, metrics={"root": rms})


def test_other_data_are_weighed_in_the_same_way():
    objective, _ = made(
        embedding(), (TOKENS, LABELS), tokenwise, weight=lw.weights.tokens(), test=(TOKENS[:9], LABELS[:9])
    )
    other = objective.on([(TOKENS[:4], LABELS[:4]), (TOKENS[4:9], LABELS[4:9])])
    assert other.measure(other.module)["loss"] == pytest.approx(
        objective.test.measure(objective.module)["loss"], rel=1e-12
    )


def test_weights_are_part_of_what_determines_a_value():
    from lwidgets.sampling.identity import identity

    batches = list(zip(X.split(8), Y.split(8), strict=True))
    model = mlp()
    line = lw.Line.random(model)
    objectives = [lw.Objective(model, batches, loss=F.cross_entropy, weight=w) for w in (None, 1, [8, 8, 6])]
    digests = [identity(o, line.bound(o.space, o.device).basis, "none") for o in objectives]
    assert digests[0] == digests[2] != digests[1]
