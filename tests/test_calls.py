"""Keyword arguments, several calls and batches as mappings: found where the loss calls the model, and used alike."""

from collections import UserDict, namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.calls import Calls, calls_of
from lwidgets.distances import between
from lwidgets.features import features
from lwidgets.symmetry import canonical, certify, derive
from lwidgets.symmetry.align import symmetries_of

Output = namedtuple("Output", ("loss", "scores"))


class Scorer(nn.Module):
    """Called by keyword as its documentation says, and returns its loss first where it gets labels."""

    def __init__(self):
        super().__init__()
        self.one, self.mid = nn.Linear(6, 7), nn.Linear(7, 5)
        self.norm, self.two = nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, x=None, mask=None, *, labels=None, scale=1.0):
        hidden = torch.relu(self.one(x)) * scale
        hidden = self.norm(self.mid(hidden if mask is None else hidden * mask[:, None]))
        scores = self.two(hidden)
        return Output(None if labels is None else F.cross_entropy(scores, labels), scores)


class Mixed(UserDict):
    """A batch as tokenizers return them: a mapping, but no dict."""


def data(n=24):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(n, 6, generator=generator)
    return x, x[:, :3].argmax(1), torch.ones(n)


def trained(seed, steps=30):
    torch.manual_seed(seed)
    model, (x, y, _) = Scorer(), data()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x=x, labels=y).loss.backward()
        optimizer.step()
    return model.eval()


x, y, mask = data()
WAYS = {
    "keywords": (lambda model, b: model(**b).loss, [{"x": x, "labels": y, "mask": mask}]),
    "a mapping that is no dict": (lambda model, b: model(**b).loss, [Mixed(x=x, labels=y)]),
    "both": (lambda model, b: F.cross_entropy(model(b[0], mask=torch.ones(len(b[0]))).scores, b[1]), [(x, y)]),
    "plain values": (lambda model, b: F.cross_entropy(model(b[0], scale=2.0).scores, b[1]), [(x, y)]),
    "twice": (lambda model, b: F.cross_entropy(model(b[0]).scores + model(x=-b[0]).scores, b[1]), [(x, y)]),
    "keyword only": (lambda model, b: F.cross_entropy(model(x=b[0]).scores, b[1]), (x, y)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_calling_is_taken_by_all_that_calls_the_model(way):
    loss, batches = WAYS[way]
    a, b = trained(0), trained(1)
    objective = lw.Objective(a, batches, loss=loss)
    spec = symmetries_of(objective, a)
    assert list(spec.groups) == ["one", "mid"]
    assert spec.certificate.error < 1e-10
    assert {name: group.level for name, group in spec.groups.items()} == {
        name: group.level for name, group in derive(a, x[:4], mask=mask[:4]).groups.items()
    }
    moved = spec.apply(spec.random(seed=1), b)
    found = lw.align(b, moved, objective)
    assert found.after < 1e-4 * found.before
    assert found.change < 1e-10
    assert objective.measure(found.model)["loss"] == pytest.approx(objective.measure(b)["loss"], rel=1e-5)
    many = lw.align_many([b, moved], objective)
    assert many.change < 1e-10
    explorer = lw.ConnectivityExplorer(
        objective, a, b, alignment="weights", coordinates="folded", plane=False, repair=True
    )
    assert explorer.wait(120)
    assert sorted(explorer.barriers) == ["aligned", "repaired", "straight"]
    explorer.close()


def test_a_mapping_given_alone_is_keywords_where_it_cannot_be_an_argument():
    model = trained(0)
    batch = {"x": x[:4], "mask": mask[:4], "labels": y[:4]}
    expected = derive(model, **batch)
    assert expected.groups
    for given in (batch, Mixed(batch)):
        assert derive(model, given).table() == expected.table()
        assert canonical(model, given).coordinates == "folded"
        assert certify(model, expected, given).certificate == expected.certificate

    class Takes(nn.Module):  # a mapping as its one argument
        def __init__(self):
            super().__init__()
            self.one = model

        def forward(self, batch):
            return self.one(batch["x"]).scores

    assert [n.removeprefix("one.") for n in derive(Takes(), {"x": x[:4]}).groups] == [*expected.groups]
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'y'. Pass the inputs that its forward takes"):
        derive(model, {"y": x})


def test_arguments_are_copied_and_calls_of_one_form_count_once():
    kept = {"x": x[:4].clone(), "names": ["a", ["b"]]}
    calls = Calls.of(kept, scale=2.0)
    copied = calls.copied()
    copied.each[0][0][0]["x"].zero_()
    copied.each[0][0][0]["names"][1].append("c")
    assert torch.equal(kept["x"], x[:4])
    assert kept["names"] == ["a", ["b"]]
    model = trained(0)
    many = lw.Objective(
        model,
        [(x, y)],
        loss=lambda m, b: sum(m(b[0] + i).scores.square().mean() for i in range(9)) + m(b[0], None)[1].sum(),
    )
    assert len(calls_of(many, many.model_at(lw.State.of(model))).each) == 2
    with pytest.raises(ValueError, match="must have a model, got an analytic one"):
        calls_of(lw.Objective.from_function(lambda u: u.sum(1), 2), model)


def test_hooks_are_gone_whatever_the_loss_does():
    model = trained(0)
    calls = []

    def loss(model, batch):
        calls.append(batch)
        if len(calls) > 2:
            raise RuntimeError("no more")
        return model(**batch).loss

    objective = lw.Objective(model, [{"x": x, "labels": y}], loss=loss)
    private = objective.model_at(lw.State.of(model))
    with pytest.raises(RuntimeError, match="no more"):
        calls_of(objective, private)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in private.modules())


class Encoder(nn.Module):
    """Used by a method of its own."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 3)

    def encode(self, x):
        return self.two(torch.relu(self.one(x)))


class Encoding(nn.Module):
    """The way out: a module whose forward is that method."""

    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside.encode(x)


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        (lambda m, b: F.cross_entropy(m.encode(b[0]), b[1]), "calls of its parts 'one', 'two' by themselves"),
        (lambda m, b: F.cross_entropy(F.linear(F.linear(b[0], m.one.weight), m.two.weight), b[1]), "got none"),
    ],
)
def test_a_loss_that_calls_a_method_or_parts_is_refused_and_the_way_out_works(loss, named):
    torch.manual_seed(0)
    a, b = Encoder(), Encoder()
    objective = lw.Objective(a, (x, y), loss=loss)
    with pytest.raises(ValueError, match=rf"call the model as a whole.* {named}"):
        lw.align(a, b, objective)
    with pytest.raises(ValueError, match="call the model as a whole"):
        symmetries_of(objective, a)
    explorer = lw.ConnectivityExplorer(objective, a, b, alignment="weights", plane=False)
    assert explorer.wait(60)
    assert list(explorer.barriers) == ["straight"]
    explorer.close()
    a, b = Encoding(a), Encoding(b)
    found = lw.align(a, b, lw.Objective(a, (x, y), loss=F.cross_entropy))
    assert found.after < found.before
    assert found.change < 1e-10


def test_a_part_beside_the_whole_is_refused():
    model = trained(0)
    objective = lw.Objective(model, (x, y), loss=lambda m, b: F.cross_entropy(m(b[0])[1], b[1]) + m.one(b[0]).norm())
    with pytest.raises(ValueError, match=r"got calls of its parts 'one' by themselves"):
        symmetries_of(objective, model)


def test_the_outputs_of_keyword_calls_are_compared():
    a, b = trained(0), trained(1)
    objective = lw.Objective(
        a, [{"x": x[:9], "labels": y[:9]}, {"x": x[9:], "labels": y[9:]}], loss=WAYS["keywords"][0]
    )
    torch.testing.assert_close(features(objective, b), b(x).scores, rtol=1e-5, atol=1e-6)
    found = between(objective, a, b, layer="one")
    assert found.disagreement == pytest.approx(float((a(x).scores.argmax(1) != b(x).scores.argmax(1)).double().mean()))
