"""What a loss is: what it may return, that it depends on what moves, that it may differentiate by the parameters."""

import copy
import dataclasses
import warnings
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.measures import Differentiated, modules_reached
from tests.models import at, everything_about, named, same

torch.manual_seed(0)
X, Y = torch.randn(40, 6), torch.randint(3, (40,))


def make(*more):
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3), *more)


NET = make()
OWN = F.cross_entropy(NET(X), Y).item()


def measured(loss, model=NET, data=(X, Y), **options):
    return lw.Objective(model, data, loss=loss, **options).measure(model)


class Output(OrderedDict):
    """As a model of transformers returns it: entries are attributes."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclasses.dataclass
class Losses:
    loss: torch.Tensor
    logits: torch.Tensor


def parts(model, batch):
    logits = model(batch[0])
    return F.cross_entropy(logits, batch[1]), logits


def returning(form):
    return lambda model, batch: form(*parts(model, batch))


TAKEN = {
    "tensor": (lambda loss, logits: loss, {}),
    "shape (1,)": (lambda loss, logits: loss.reshape(1), {}),
    "shape (1, 1)": (lambda loss, logits: loss.reshape(1, 1), {}),
    "sparse": (lambda loss, logits: loss.detach().to_sparse(), {}),
    "Python": (lambda loss, logits: loss.item(), {}),
    "NumPy": (lambda loss, logits: np.float32(loss.item()), {}),
    "NumPy array": (lambda loss, logits: loss.detach().numpy(), {}),
    "fraction": (lambda loss, logits: Fraction(loss.item()), {}),
    "dict": (lambda loss, logits: {"mean": logits.mean(), "loss": loss}, {"mean"}),
    "Hugging Face": (lambda loss, logits: Output(loss=loss, logits=logits, aux=logits.mean()), {"aux"}),
    "object with a loss": (lambda loss, logits: Losses(loss, logits), {}),
    "(loss, logits)": (lambda loss, logits: (loss, logits), {}),
    "(loss, output)": (lambda loss, logits: (loss, Output(logits=logits)), {}),
    "(loss, logits, state)": (lambda loss, logits: (loss, logits, [logits]), {}),
    "(loss,)": (lambda loss, logits: (loss,), {}),
    "(loss, None)": (lambda loss, logits: (loss, None), {}),
    "(loss, logs)": (lambda loss, logits: (loss, {"mean": logits.mean().item(), "all": logits, "at": "x"}), {"mean"}),
    "[loss, logs]": (lambda loss, logits: [loss, {"loss": 5.0, "mean": logits.mean()}], {"mean"}),
}


@pytest.mark.parametrize(("form", "others"), TAKEN.values(), ids=TAKEN.keys())
def test_a_loss_may_return(form, others):
    found = measured(returning(form))
    assert found["loss"] == pytest.approx(OWN, rel=1e-6)
    assert found.keys() == {"loss", *others}
    for name in others:
        assert found[name] == pytest.approx(NET(X).mean().item(), rel=1e-5)


def test_a_python_number_keeps_its_digits():
    assert measured(lambda model, batch: float(model(batch[0]).double().sum())) == {
        "loss": float(NET(X).detach().double().sum())
    }


NAMED = {
    "None": (lambda loss, logits: None, r"got None\. Does it end without return\?"),
    "text": (lambda loss, logits: "0.3", r"got str '0\.3'"),
    "vector": (lambda loss, logits: logits.mean(dim=1), r"got shape \(40,\) of torch\.float32\. Use reduction='mean'"),
    "complex": (lambda loss, logits: loss * 1j, r"got shape \(\) of torch\.complex64"),
    "complex number": (lambda loss, logits: loss.item() * 1j, "got complex"),
    "meta": (lambda loss, logits: loss.to("meta"), "got a tensor on the meta device"),
    "(logits, loss)": (lambda loss, logits: (logits, loss), r"a tuple of a tensor of shape \(40, 3\), a tensor of"),
    "two losses": (lambda loss, logits: (loss, logits.mean()), r"got 2 of them in a tuple\. Return a dict such as"),
    "no loss": (lambda loss, logits: {"mean": loss}, "with the key 'loss', got keys"),
    "outputs without a loss": (lambda loss, logits: Output(logits=logits), r"loss\['logits'\] must return one real"),
    "no labels": (
        lambda loss, logits: Output(loss=None, logits=logits),
        "an? Output whose loss is None. Pass the labels",
    ),
    "an entry that is none": (
        lambda loss, logits: {"loss": loss, "logits": logits},
        r"loss\['logits'\] must return one",
    ),
    "an entry that is None": (lambda loss, logits: {"loss": loss, "kl": None}, r"loss\['kl'\] must return .* got None"),
    "nothing": (lambda loss, logits: (), "got a tuple of"),
}


@pytest.mark.parametrize(("form", "message"), NAMED.values(), ids=NAMED.keys())
def test_what_a_loss_may_not_return_is_named(form, message):
    with pytest.raises(ValueError, match=message) as caught:
        measured(returning(form))
    assert str(caught.value).startswith("Objective: ")


def test_advice_about_several_losses_works():
    found = measured(returning(lambda loss, logits: {"loss": loss, "other": logits.mean()}))
    assert found["other"] == pytest.approx(NET(X).mean().item(), rel=1e-5)


@pytest.mark.parametrize("loss", [None, 3, "cross_entropy"])
def test_a_loss_that_is_no_function_is_named(loss):
    with pytest.raises(TypeError, match="Objective: loss must be a function"):
        measured(loss)
    with pytest.raises(TypeError, match=r"model\(\*\*batch\)\.loss"):
        measured(loss, data=[{"input_ids": X, "labels": Y}])


class Returning(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.net, self.form = NET, form

    def forward(self, x):
        return self.form(self.net(x))


OUTPUTS = {
    "Hugging Face": (lambda x: Output(logits=x, hidden=x), "output.logits"),
    "tuple": (lambda x: (x, x), "output[0]"),
    "list": (lambda x: [x], "output[0]"),
    "dict": (lambda x: {"out": x}, "output['out']"),
    "ordered dict": (lambda x: OrderedDict(logits=x), "output['logits']"),
    "object": (lambda x: Losses(x, x), None),
}


@pytest.mark.parametrize(("form", "wanted"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_model_that_returns_more_than_the_loss_takes_is_named_with_a_way_out_that_works(form, wanted):
    with pytest.raises(TypeError, match=r"The model returns an? \w+.*: give the loss what it wants of it") as caught:
        measured(F.cross_entropy, Returning(form))
    if wanted is not None:
        assert f"lambda output, target: cross_entropy({wanted}, target)" in str(caught.value)
        loss = eval(f"lambda output, target: F.cross_entropy({wanted}, target)")
        assert measured(loss, Returning(form))["loss"] == pytest.approx(OWN, rel=1e-6)


def test_a_batch_of_keywords_with_a_loss_of_outputs_is_named_with_a_way_out_that_works():
    class Labelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = NET

        def forward(self, input_ids, labels):
            return Output(loss=F.cross_entropy(self.net(input_ids), labels))

    data = [{"input_ids": X, "labels": Y}]
    with pytest.raises(TypeError, match=r"loss=lambda model, batch: model\(\*\*batch\)\.loss"):
        measured(F.cross_entropy, Labelled(), data)
    for loss in (lambda model, batch: model(**batch).loss, lambda model, batch: model(**batch)):
        assert measured(loss, Labelled(), data)["loss"] == pytest.approx(OWN, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Objective. spread is no mean over samples")
def test_keys_are_matched_by_name_whatever_their_order():
    calls = []

    def loss(model, batch):
        calls.append(1)
        total, logits = parts(model, batch)
        found = {"loss": total, "mean": logits.mean(), "spread": logits.std()}
        return dict(reversed(found.items())) if len(calls) % 2 else found

    other = make()
    objective = lw.Objective(NET, [(X[:20], Y[:20]), (X[20:], Y[20:])], loss=loss)
    line = lw.sample(objective, lw.Line(NET, other), resolution=5, tolerance=0, cache=False)
    for t, mean, total in zip(line.coords[0], line.values["mean"], line.values["loss"], strict=True):
        scores = at(NET, [(1 - t, named(NET)), (t, named(other))]).double()(X.double())
        assert mean == pytest.approx(scores.mean().item(), rel=1e-5)
        assert total == pytest.approx(F.cross_entropy(scores, Y).item(), rel=1e-6)


def test_keys_that_come_or_go_are_named_at_once_or_where_it_happens():
    calls = []

    def grows(model, batch):
        calls.append(1)
        return {"loss": parts(model, batch)[0], f"call {len(calls)}": 1.0}

    with pytest.raises(ValueError, match="must return the same names in every call, loss, call 1, got new 'call 3'"):
        lw.Objective(NET, (X, Y), loss=grows)

    def far_off(model, batch):
        far = {"far": 1.0} if model[0].weight.abs().max() > 3 else {}
        return {"loss": parts(model, batch)[0], **far}

    objective = lw.Objective(NET, (X, Y), loss=far_off)
    with pytest.raises(ValueError, match="got new 'far'") as caught:
        lw.sample(objective, lw.Plane.random(NET, span=20.0), resolution=5, tolerance=0, cache=False)
    assert caught.value.landscape.evaluations < 25

    def missing(u):
        return {"loss": u[:, 0], **({"other": u[:, 1]} if not u.any() else {})}

    with pytest.raises(ValueError, match="got no 'other'"):
        lw.Objective.from_function(missing, dim=2).measure(torch.ones(2))


def gradient_norm(model, batch):
    loss = F.cross_entropy(model(batch[0]), batch[1])
    return sum(g.square().sum() for g in torch.autograd.grad(loss, list(model.parameters()))).sqrt()


def by_backward(model, batch):
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    return sum(p.grad.square().sum() for p in model.parameters()).sqrt()


def penalty(model, batch):
    """As in weight decay by hand: only of what is trained."""
    return F.cross_entropy(model(batch[0]), batch[1]) + sum(
        p.square().sum() for p in model.parameters() if p.requires_grad
    )


def sharpness(model, batch):
    """The loss after one step up the gradient (Foret et al. 2021)."""
    gradients = torch.autograd.grad(F.cross_entropy(model(batch[0]), batch[1]), list(model.parameters()))
    moved = {name: p + 0.05 * g for (name, p), g in zip(model.named_parameters(), gradients, strict=True)}
    return F.cross_entropy(torch.func.functional_call(model, moved, (batch[0],)), batch[1])


def hessian_trace(model, batch):
    loss = F.cross_entropy(model(batch[0]), batch[1])
    (gradient,) = torch.autograd.grad(loss, model[2].bias, create_graph=True)
    return sum(torch.autograd.grad(g, model[2].bias, retain_graph=True)[0][i] for i, g in enumerate(gradient))


@pytest.mark.parametrize("measure", [gradient_norm, by_backward, penalty, sharpness, hessian_trace])
@pytest.mark.parametrize("role", ["loss", "metric"])
def test_what_differentiates_by_the_parameters_is_as_on_the_users_own_model(measure, role):
    model, other, batch = make().double(), make().double(), (X.double(), Y)
    last = next(iter(model.parameters()))
    last.grad = torch.ones_like(last)
    before = everything_about(model)
    options = {"loss": measure} if role == "loss" else {"loss": F.cross_entropy, "metrics": {"own": measure}}
    objective = lw.Objective(model, batch, **options)
    plane = lw.sample(objective, lw.Line(model, other), resolution=65, tolerance=0, cache=False)
    assert same(everything_about(model), before)
    for i in (0, 17, 40, 64):
        point = at(model, [(1 - plane.coords[0][i], named(model)), (plane.coords[0][i], named(other))])
        point.zero_grad()
        expected = measure(point, batch).item()
        assert plane.values["loss" if role == "loss" else "own"][i] == pytest.approx(expected, rel=1e-9)
    with objective.replica() as replica:
        assert not any(p.requires_grad or p.grad is not None for p in replica.module.parameters())


def test_only_what_the_user_trains_requires_gradients():
    model = make()
    model[0].requires_grad_(False)
    with torch.no_grad():
        expected = penalty_by_hand(model)
    assert measured(penalty, model)["loss"] == pytest.approx(expected, rel=1e-6)
    model.requires_grad_(False)
    assert measured(penalty, model)["loss"] == pytest.approx(F.cross_entropy(model(X), Y).item(), rel=1e-6)
    assert measured(gradient_norm, model)["loss"] > 0  # of what moves, where nothing is trained


def penalty_by_hand(model):
    return (F.cross_entropy(model(X), Y) + model[2].weight.square().sum() + model[2].bias.square().sum()).item()


def test_no_graph_is_built_where_none_is_asked_for():
    graphs = []

    def loss(model, batch):
        value = F.cross_entropy(model(batch[0]), batch[1])
        graphs.append(value.requires_grad)
        return value

    objective = lw.Objective(NET, (X, Y), loss=loss)
    graphs.clear()
    objective.measure(NET)
    assert graphs == [False]


def test_differentiated_leaves_no_gradient_after_an_exception():
    model = make().requires_grad_(False)

    def failing(model, batch):
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Differentiated(failing, frozenset(named(model)))(model, (X, Y))
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


class Holder:
    def __init__(self, net):
        self.net = net

    def loss(self, model, batch):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def __call__(self, model, batch):
        return self.loss(model, batch)


def helper(batch):
    return F.cross_entropy(NET(batch[0]), batch[1])


def by_default(model, batch, mine=NET):
    return F.cross_entropy(mine(batch[0]), batch[1])


def slips():
    net = copy.deepcopy(NET)
    fixed = {"net": net}
    return {
        "closure": (lambda model, batch: F.cross_entropy(net(batch[0]), batch[1]), r"net \(Sequential\)"),
        "global": (lambda model, batch: F.cross_entropy(NET(batch[0]), batch[1]), r"NET \(Sequential\)"),
        "of outputs": (lambda output, target: F.cross_entropy(net(X), target), r"net \(Sequential\)"),
        "helper": (lambda model, batch: helper(batch), r"NET \(Sequential\)"),
        "method": (Holder(net).loss, r"self\.net \(Sequential\)"),
        "callable": (Holder(net), r"net \(Sequential\)"),
        "frozen": (lw.frozen_noise(lambda model, batch: helper(batch)), r"NET \(Sequential\)"),
        "default": (by_default, r"mine \(Sequential\)"),
        "in a dict": (lambda model, batch: F.cross_entropy(fixed["net"](batch[0]), batch[1]), r"fixed\['net'\]"),
        "constant": (lambda model, batch: torch.tensor(0.5), "not a constant"),
        "target alone": (lambda output, target: target.float().mean(), "the target alone"),
    }


@pytest.mark.parametrize("slip", list(slips()))
def test_a_loss_that_ignores_its_model_is_told_and_what_it_uses_instead(slip):
    loss, message = slips()[slip]
    with pytest.warns(UserWarning, match=f"Objective: loss must depend on what moves, got .*{message}"):
        objective = lw.Objective(NET, (X, Y), loss=loss)
    assert objective.without_effect == ("loss",)
    assert objective.provenance()["without effect"] == ["loss"]


def test_parameters_that_have_no_effect_are_named():
    model = nn.ModuleDict({"used": make(), "unused": nn.Linear(6, 3)})

    def loss(model, batch):
        return F.cross_entropy(model["used"](batch[0]), batch[1])

    with pytest.warns(UserWarning, match=r"when 'unused\.weight', 'unused\.bias' were changed\. Let other parameters"):
        lw.Objective(model, (X, Y), loss=loss, params="unused.*")
    assert lw.Objective(model, (X, Y), loss=loss, params="used.*").without_effect == ()
    assert lw.Objective(model, (X, Y), loss=loss).without_effect == ()


DEPENDS = {
    "zero weights": lambda: nn.Linear(6, 3).requires_grad_(False).apply(lambda m: (m.weight.zero_(), m.bias.zero_())),
    "far off": lambda: make().apply(lambda m: m.weight.data.mul_(1e4) if isinstance(m, nn.Linear) else None),
    "small": lambda: make().apply(lambda m: m.weight.data.mul_(1e-12) if isinstance(m, nn.Linear) else None),
    "half precision": lambda: make().bfloat16(),
    "dead units": lambda: nn.Sequential(nn.Linear(6, 8), nn.Threshold(1e3, 0.0), nn.Linear(8, 3)),
}


@pytest.mark.parametrize("model", DEPENDS.values(), ids=DEPENDS.keys())
def test_a_loss_that_depends_is_not_suspected(model):
    model = model()
    data = (X.to(next(model.parameters())), Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lw.Objective(model, data, loss=F.cross_entropy).without_effect == ()
        lw.Objective(model, data, loss=lw.metrics.error)


def test_what_is_not_finite_is_not_suspected():
    model = make()
    for loss in (lambda o, t: F.cross_entropy(o, t) * float("nan"), lambda o, t: o.sum().abs() + float("inf")):
        assert lw.Objective(model, (X, Y), loss=loss).without_effect == ()

    def out_of_bounds(model, batch):  # at any other point
        if not torch.equal(model[0].weight, first):
            raise RuntimeError("out of bounds")
        return torch.tensor(1.0)

    first = model[0].weight.detach().clone()
    assert lw.Objective(model, (X, Y), loss=out_of_bounds).without_effect == ()


def test_a_metric_without_effect_is_known_but_no_reason_to_warn():
    objective = lw.Objective(
        NET, (X, Y), loss=F.cross_entropy, metrics={"share": lambda output, target: (target == 0).float().mean()}
    )
    assert objective.without_effect == ("share",)


def test_looking_for_dependence_changes_nothing():
    """The perturbed copy is what all later evaluations are copied from, and is given its parameters by the point."""
    model, other = make(nn.BatchNorm1d(3)), make(nn.BatchNorm1d(3))
    before, stream = everything_about(model), torch.get_rng_state()
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    assert same(everything_about(model), before)
    assert torch.equal(torch.get_rng_state(), stream)
    for each in (model, other):
        own = F.cross_entropy(each.eval()(X), Y).item()
        assert objective.measure(each)["loss"] == own
        assert objective.model_at(lw.State.of(each))(X).equal(each(X))


@pytest.mark.parametrize("by_model", [False, True])
def test_a_model_that_writes_into_its_batch_is_tried_on_a_copy_each_time(by_model):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = NET

        def forward(self, x):
            return self.net(x.mul_(2))

    def loss(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])

    found = lw.Objective(InPlace(), (X, Y), loss=loss if by_model else F.cross_entropy, metrics={"own": loss})
    expected = pytest.approx(F.cross_entropy(NET(2 * X), Y).item(), rel=1e-6)
    assert found.measure(InPlace()) == {"loss": expected, "own": expected}


def test_modules_without_parameters_are_no_suspects():
    criterion = nn.CrossEntropyLoss()
    assert modules_reached(lambda model, batch: criterion(model(batch[0]), batch[1])) == {}
    assert modules_reached(criterion) == {}
    assert list(modules_reached(lambda model, batch: NET(batch[0]))) == ["NET"]
