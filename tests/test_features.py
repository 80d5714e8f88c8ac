"""What modules pass on, against the user's own module called by hand."""

import dataclasses
from collections import namedtuple

import pytest
import torch
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.features import class_scores, cross_entropies, features, labels, named_features, watch
from tests.models import CNN, MLP, TRANSFORMER, everything_about, same


def test_outputs_and_inner_features_are_those_of_the_module_called_by_hand():
    objective, model = MLP.objective(torch.float64), MLP.model(1, torch.float64)
    X, y = MLP.samples(torch.float64)
    assert torch.equal(features(objective, model), model(X))
    assert torch.equal(features(objective, model, "3"), model[:4](X))
    assert torch.equal(labels(objective), y)
    split = lw.Objective(model, [(X[:7], y[:7]), (X[7:], y[7:])], loss=MLP.loss)
    torch.testing.assert_close(features(split, model, "0"), model[0](X), rtol=1e-12, atol=0)
    assert torch.equal(labels(split), y)


def test_a_loss_that_calls_the_model_itself_is_followed():
    objective, model = TRANSFORMER.objective(torch.float64), TRANSFORMER.model(1, torch.float64)
    with torch.no_grad():
        expected = model(TRANSFORMER.samples()[:, :-1])
    torch.testing.assert_close(features(objective, model), expected, rtol=1e-9, atol=1e-12)
    assert features(objective, model, "layer").shape == (33, 6, 8)


def test_batchnorm_statistics_are_the_ones_asked_for():
    objective, model = CNN.objective(torch.float64), CNN.model(1, torch.float64)
    X, _ = CNN.samples(torch.float64)
    assert torch.equal(features(objective, model), model(X))
    torch.testing.assert_close(features(objective, model, batchnorm="batch"), model.train()(X), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(features(objective, model, batchnorm="recalibrate"), features(objective, model))


def test_a_tuple_gives_its_first_tensor():
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = torch.nn.GRU(3, 4, batch_first=True)

        def forward(self, x):
            return self.cell(x)[0][:, -1]

    model = Recurrent()
    X, y = torch.randn(9, 5, 3), torch.arange(9) % 4
    objective = lw.Objective(model, (X, y), loss=F.cross_entropy)
    torch.testing.assert_close(features(objective, model, "cell"), model.cell(X)[0])


@dataclasses.dataclass
class Found:
    loss: torch.Tensor
    scores: torch.Tensor


Pair = namedtuple("Pair", ("loss", "scores"))
OUTPUTS = {
    "": lambda loss, scores: scores,
    "1": lambda loss, scores: (loss, scores),
    "scores": lambda loss, scores: {"loss": loss, "scores": scores},
    "scores ": Found,
    "scores  ": Pair,
    "1.inner": lambda loss, scores: [scores.argmax(1), {"loss": loss, "inner": scores}],
}


class Returns(torch.nn.Module):
    """Its loss first, and then the scores, in some form."""

    def __init__(self, form):
        super().__init__()
        self.one, self.form = torch.nn.Linear(6, 3), form

    def forward(self, x, y):
        scores = self.one(x)
        return self.form(F.cross_entropy(scores, y), scores)


@pytest.mark.parametrize("place", OUTPUTS)
def test_of_several_outputs_the_first_with_an_axis_is_taken_and_named(place):
    a, b = (Returns(OUTPUTS[place]) for _ in range(2))
    x, y = torch.randn(12, 6), torch.arange(12) % 3
    batches = [{"x": x[:7], "labels": y[:7]}, {"x": x[7:], "labels": y[7:]}]

    def loss(model, batch):
        return F.cross_entropy(_scores(model(batch["x"], y=batch["labels"])), batch["labels"])

    objective = lw.Objective(a, batches, loss=loss)
    found = named_features(objective, b)
    assert found.output == place.strip()
    torch.testing.assert_close(found.rows, b.one(x))
    assert torch.equal(labels(objective), y)
    apart = lw.distances.between(objective, a, b)
    assert apart.output == place.strip()
    assert apart.disagreement == pytest.approx(float((a.one(x).argmax(1) != b.one(x).argmax(1)).double().mean()))
    torch.testing.assert_close(class_scores(objective, lw.State.of(b), "none"), b.one(x).double())


def _scores(output):
    """By hand: whatever has three columns."""
    if torch.is_tensor(output):
        return output
    parts = [*output.values()] if isinstance(output, dict) else getattr(output, "__dict__", None) or output
    parts = [*parts.values()] if isinstance(parts, dict) else parts
    parts = [*parts[:-1], *parts[-1].values()] if isinstance(parts[-1], dict) else parts
    return next(part for part in parts if part.ndim == 2)


def test_outputs_without_rows_or_of_several_lengths_are_refused_in_words():
    net = torch.nn.Linear(2, 2)
    sequences = [torch.randn(3, 4, 2), torch.randn(3, 5, 2)]
    objective = lw.Objective(net, sequences, loss=lambda model, b: model(b).square().mean())
    with pytest.raises(
        ValueError, match=r"one shape for each example, got \(\d, 2\) and \(\d, 2\) in different batches"
    ):
        features(objective, net)

    class Alone(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = net

        def forward(self, x):
            return {"loss": self.one(x).square().mean(), "label": x.argmax(1)}

    alone = Alone()
    objective = lw.Objective(alone, [torch.randn(3, 2)], loss=lambda model, b: model(b)["loss"])
    with pytest.raises(ValueError, match=r"layer '' must return floating-point tensors with a row .* got dict. Name a"):
        features(objective, alone)
    assert features(objective, alone, "one").shape == (3, 2)


def test_nothing_stays_behind():
    model = MLP.model(0).train()
    objective = lw.Objective(model, MLP.samples(), loss=MLP.loss)
    before = everything_about(model)
    seen = []
    watch(objective, MLP.model(1), ("0", "2"), lambda name, inputs, output: seen.append(name))
    objective.measure(model)
    assert seen == ["0", "2"]
    assert same(before, everything_about(model))
    assert not any(part._forward_hooks for part in model.modules())


def test_class_scores_are_checked_against_the_loss():
    objective = MLP.objective(torch.float64)
    state = lw.State.of(MLP.model(1, torch.float64))
    scores = class_scores(objective, state, "none")
    assert float(cross_entropies(scores, labels(objective)).mean()) == pytest.approx(objective.measure(state)["loss"])
    X, y = MLP.samples()
    squares = lw.Objective(MLP.model(0), (X, y), loss=lambda out, y: (out - F.one_hot(y, 3)).square().mean())
    with pytest.raises(ValueError, match=r"loss must be the cross-entropy of the model's class scores, got"):
        class_scores(squares, lw.State.of(MLP.model(1)), "none")
    images = lw.Objective(
        torch.nn.Conv1d(1, 3, 1), (torch.randn(5, 1, 4), y[:5]), loss=lambda o, y: F.cross_entropy(o[..., 0], y)
    )
    with pytest.raises(ValueError, match=r"must be class scores of shape \(N, C\), got \(5, 3, 4\)"):
        class_scores(images, images.space.select(lw.State.of(torch.nn.Conv1d(1, 3, 1))), "none")


def test_what_has_no_features_is_refused_by_name():
    objective, model = MLP.objective(), MLP.model(0)
    with pytest.raises(ValueError, match=r"layer must be a module's name, got 'hidden'. The names are '', '0', '1'"):
        features(objective, model, "hidden")
    twice = lw.Objective(
        model, MLP.samples(), loss=lambda model, batch: F.cross_entropy(model(batch[0]) + model(batch[0]), batch[1])
    )
    with pytest.raises(ValueError, match=r"called once for every batch, got 2 calls of '4' for 1 batches"):
        features(twice, model, "4")
    analytic = lw.Objective.from_function(lambda u: u.sum(dim=1), dim=2)
    with pytest.raises(ValueError, match=r"objective must have a model, got an analytic one"):
        features(analytic, torch.zeros(2))
    for data, told in (((torch.randn(4, 6), torch.randn(4, 3)), "float32 of shape"), (torch.randn(4, 6), "float32")):
        unlabelled = lw.Objective(
            model, data, loss=lambda model, batch: model(batch if torch.is_tensor(batch) else batch[0]).square().mean()
        )
        with pytest.raises(ValueError, match=rf"data must be pairs \(X, y\) .* got .*{told}"):
            labels(unlabelled)
