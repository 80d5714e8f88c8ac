"""Architectures with a twist of their own, and losses that are refused with advice that works."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from tests.models import MLP, at, named


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Decoder(nn.Module):
    """Transposed convolutions, one of them grouped."""

    def __init__(self):
        super().__init__()
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4, 6, 3, stride=2), nn.Tanh(), nn.ConvTranspose2d(6, 4, 2, groups=2), nn.Conv2d(4, 1, 1)
        )

    def forward(self, x):
        return self.up(x)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 2), nn.Linear(2, 6)

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


def physics(model, points):
    """u'' = -sin(x) with u(0) = 0: the output is differentiated by its input, twice."""
    x = points.requires_grad_()
    u = model(x)
    (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    return ((second + x.sin()) ** 2).mean() + (model(torch.zeros(1, 1, dtype=x.dtype)) ** 2).mean()


def reconstruction(model, batch):
    return F.mse_loss(model(batch), batch)


def pinn():
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))


KINDS = {
    "lstm": (Recurrent, lambda: (torch.randn(9, 4, 3), torch.randint(2, (9,))), F.cross_entropy, False),
    "transposed convolution": (Decoder, lambda: (torch.randn(5, 4, 3, 3), torch.rand(5, 1, 8, 8)), F.mse_loss, False),
    "pinn": (pinn, lambda: torch.linspace(0, 3, 20).reshape(-1, 1), physics, True),
    "autoencoder": (Autoencoder, lambda: torch.randn(12, 6), reconstruction, True),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 3), (4, 7)])
def test_a_plane_is_a_plain_double_loop_over_the_users_module(kind, shape):
    make, data, loss, by_model = KINDS[kind]
    model, data = make().double(), data()
    data = tuple(d.double() if d.is_floating_point() else d for d in data) if isinstance(data, tuple) else data.double()
    objective = lw.Objective(model, data, loss=loss)
    plane = lw.Plane.random(model, span=0.7)
    landscape = lw.sample(objective, plane, resolution=shape, tolerance=0)
    first, second = plane.basis.vectors[1:]
    for i, x in enumerate(landscape.coords[0]):
        for j, y in enumerate(landscape.coords[1]):
            here = at(model, [(1, named(model)), (x, first), (y, second)])
            expected = loss(here, data.clone()) if by_model else loss(here(data[0]), data[1])
            assert landscape.values["loss"][i, j] == pytest.approx(expected.item(), rel=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_the_centre_is_the_models_own_float32_loss(kind):
    make, data, loss, by_model = KINDS[kind]
    model, data = make(), data()
    landscape = lw.sample(lw.Objective(model, data, loss=loss), lw.Plane.random(model), resolution=3)
    model.requires_grad_(False)
    own = loss(model, data.clone()) if by_model else loss(model(data[0]), data[1])
    assert landscape.values["loss"][1, 1] == own.item()


X, Y = MLP.samples()


def test_a_loss_for_each_sample_is_refused_and_the_mean_works():
    model = MLP.model()
    with pytest.raises(ValueError, match=r"loss must return one real number for a batch, got shape \(41,\)") as caught:
        lw.Objective(model, (X, Y), loss=nn.CrossEntropyLoss(reduction="none"))
    assert "reduction='mean', or take .mean()" in str(caught.value)
    for loss in (nn.CrossEntropyLoss(reduction="mean"), lambda o, t: F.cross_entropy(o, t, reduction="none").mean()):
        assert lw.Objective(model, (X, Y), loss=loss).measure(model)["loss"] == pytest.approx(
            MLP.plain_loss(model), rel=1e-6
        )


def test_a_complex_loss_is_refused():
    with pytest.raises(ValueError, match=r"one real number for a batch, got shape .* of torch.complex64"):
        lw.Objective(MLP.model(), (X, Y), loss=lambda o, t: o.mean() * 1j)


def test_a_loss_of_neither_form_shows_both_errors():
    with pytest.raises(TypeError, match=r"must work as loss\(output, target\) or as loss\(model, batch\)") as caught:
        lw.Objective(MLP.model(), (X[:, :5], Y), loss=F.cross_entropy)
    assert "mat1 and mat2 shapes cannot be multiplied (41x5 and 6x16)" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_dropout_that_stays_on_in_eval_is_refused_and_switching_it_off_works():
    class Noisy(nn.Module):
        def __init__(self, p):
            super().__init__()
            self.linear, self.p = nn.Linear(6, 3), p

        def forward(self, x):
            return F.dropout(self.linear(x), self.p)  # training=True whatever the mode

    with pytest.raises(ValueError, match=r"deterministic in eval mode, got loss = .* and then .*switch off a dropout"):
        lw.Objective(Noisy(0.5), (X, Y), loss=F.cross_entropy)
    lw.Objective(Noisy(0.0), (X, Y), loss=F.cross_entropy)


def test_a_dict_of_losses_needs_the_key_loss():
    with pytest.raises(ValueError, match=r"dict with the key .loss., got keys \['mse'\]. Rename one"):
        lw.Objective(MLP.model(), (X, Y), loss=lambda o, t: {"mse": o.mean()})


def test_a_state_dict_in_place_of_a_model_and_a_metric_called_loss_are_refused():
    with pytest.raises(
        TypeError, match=r"model must be a torch.nn.Module, got OrderedDict.*load the checkpoint into it"
    ):
        lw.Objective(MLP.model().state_dict(), (X, Y), loss=F.cross_entropy)
    with pytest.raises(ValueError, match=r"metrics must not contain .loss."):
        lw.Objective(MLP.model(), (X, Y), loss=F.cross_entropy, metrics={"loss": F.nll_loss})


def test_an_error_in_the_users_loss_keeps_its_own_type_and_the_objective_usable():
    model, limit = MLP.model(), {"calls": 10**9}

    def loss(output, target):
        limit["calls"] -= 1
        if limit["calls"] < 0:
            raise ZeroDivisionError("the user's own words")
        return F.cross_entropy(output, target)

    objective = lw.Objective(model, (X, Y), loss=loss)
    limit["calls"] = 4
    with pytest.raises(ZeroDivisionError, match=r"the user's own words"):
        lw.sample(objective, lw.Plane.random(model), resolution=5)
    limit["calls"] = 10**9
    assert objective.measure(model)["loss"] == MLP.plain_loss(model)


def test_analytic_functions_of_the_wrong_shape_are_refused_and_reducing_over_dim_1_works():
    with pytest.raises(
        ValueError, match=r"real values of shape \(1,\) for points of shape \(1, 3\), got \(\)"
    ) as caught:
        lw.Objective.from_function(lambda u: (u**2).sum(), dim=3)
    assert "Reduce over dim=1 only" in str(caught.value)
    objective = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=3)
    assert objective.measure(torch.ones(3))["loss"] == 3.0
    with pytest.raises(ValueError, match=r"names must hold 2 names, got 3"):
        lw.Objective.from_function(lambda u: u[:, 0], 2, names="abc")
    with pytest.raises(
        TypeError,
        match=r"Objective\.model_at: objective must have a model and data, got .* without\. Use subspace\.point",
    ):
        objective.model_at(objective)


def test_scalar_metrics_may_be_plain_numbers():
    objective = lw.Objective(
        MLP.model(), (X, Y), loss=F.cross_entropy, metrics={"largest": lambda o, t: float(o.max())}
    )
    assert objective.measure(MLP.model())["largest"] == pytest.approx(MLP.model()(X).max().item(), rel=1e-6)
    assert np.isfinite(lw.sample(objective, lw.Line.random(MLP.model()), resolution=5).values["largest"]).all()


def test_the_loss_decides_wherever_its_dict_names_it():
    model = MLP.model()
    objective = lw.Objective(model, (X, Y), loss=lambda o, t: {"norm": o.norm(), "loss": F.cross_entropy(o, t)})
    landscape = lw.sample(objective, lw.Line.random(model), resolution=9)
    assert landscape.provenance["sampling"]["deciding"] == ["loss"]
    assert landscape.metrics[0] == "loss"


def test_trap_7_a_model_that_works_in_place_leaves_the_users_data_alone():
    model, x = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 3)), X.clone()
    objective = lw.Objective(model, (x, Y), loss=F.cross_entropy)
    assert objective.measure(model)["loss"] == F.cross_entropy(model(X.clone()), Y).item()
    assert torch.equal(x, X)


def test_a_model_that_keeps_an_activation_of_its_last_pass_is_copied_or_refused_with_a_way_out():
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.last = nn.Linear(6, 3), None

        def forward(self, x):
            self.last = self.linear(x)
            return self.last

    model = Cached()
    model(X)  # a non-leaf tensor is kept: copy.deepcopy refuses it
    try:
        objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    except (TypeError, ValueError) as refusal:
        assert str(refusal).startswith("Objective: model must")  # noqa: PT017
        with torch.no_grad():
            model(X)
        objective = lw.Objective(model, (X, Y), loss=F.cross_entropy)
    assert objective.measure(model)["loss"] == F.cross_entropy(model(X), Y).item()
