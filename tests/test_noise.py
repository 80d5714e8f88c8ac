"""Noise of one's own against torch's generators themselves: the same numbers, and the user's stream untouched."""

import copy
import pickle
import random
import threading

import numpy as np
import pytest
import torch
from torch import distributions, nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.noise import Shared, private_noise, shared_kept, undisturbed
from lwidgets.sampling.content import Content
from tests.models import at, named

torch.manual_seed(0)
X = torch.randn(12, 6)
POSITIVE = X.abs() + 0.1


def streams():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002


DRAWS = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(2, 2, dtype=torch.float64),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
    "out": lambda: torch.rand(4, out=torch.empty(4)),
    "randint": lambda: torch.randint(2, 9, (4,)),
    "randint below": lambda: torch.randint(9, (4,)),
    "randperm": lambda: torch.randperm(7),
    "rand_like": lambda: torch.rand_like(X),
    "randn_like": lambda: torch.randn_like(X),
    "randint_like": lambda: torch.randint_like(X, 9),
    "randint_like between": lambda: torch.randint_like(X, 3, 9),
    "dropout": lambda: F.dropout(X, training=True),
    "dropout2d": lambda: F.dropout2d(X.reshape(1, 12, 3, 2), training=True),
    "alpha dropout": lambda: F.alpha_dropout(X, training=True),
    "feature alpha dropout": lambda: F.feature_alpha_dropout(X, training=True),
    "native dropout": lambda: torch.native_dropout(X, 0.3, True)[0],
    "rrelu": lambda: F.rrelu(X, training=True),
    "gumbel softmax": lambda: F.gumbel_softmax(X, hard=True),
    "normal": lambda: torch.normal(X, POSITIVE),
    "bernoulli": lambda: torch.bernoulli(torch.full((9,), 0.4)),
    "multinomial": lambda: torch.multinomial(POSITIVE, 3),
    "poisson": lambda: torch.poisson(POSITIVE),
    "exponential": lambda: torch.empty(3).exponential_(),
    "geometric": lambda: torch.empty(3).geometric_(0.5),
    "cauchy": lambda: torch.empty(3).cauchy_(),
    "log normal": lambda: torch.empty(3).log_normal_(),
    "attention": lambda: F.scaled_dot_product_attention(X[None], X[None], X[None], dropout_p=0.5),
    "fractional pool": lambda: F.fractional_max_pool2d(X.reshape(1, 1, 9, 8), 2, output_size=3),
    "Gamma": lambda: distributions.Gamma(POSITIVE, POSITIVE).rsample(),
    "Dirichlet": lambda: distributions.Dirichlet(POSITIVE).rsample(),
    "Beta": lambda: distributions.Beta(POSITIVE, POSITIVE).rsample(),
    "Binomial": lambda: distributions.Binomial(3, torch.full((4,), 0.5)).sample(),
    "Categorical": lambda: distributions.Categorical(POSITIVE).sample(),
    "Normal": lambda: distributions.Normal(0.0, 1.0).rsample((2,)),
    "StudentT": lambda: distributions.StudentT(POSITIVE).rsample(),
    "VonMises": lambda: distributions.VonMises(X, POSITIVE).sample(),
    "layer": lambda: nn.Linear(3, 3).weight.detach(),
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(5, 5)),
    "recurrent": lambda: nn.LSTM(6, 4, 2, dropout=0.5)(X[None])[0].detach(),
    "by its generator": lambda: torch.rand(3, generator=torch.default_generator),
    "seeded": lambda: (torch.manual_seed(9), torch.rand(2))[1],
    "seed returned": lambda: torch.rand(2, generator=torch.manual_seed(9)),
    "state": lambda: torch.cat([(torch.set_rng_state(torch.get_rng_state()), torch.rand(2))[1], torch.rand(1)]),
    "initial seed": lambda: torch.tensor([torch.initial_seed()]),
}


def forked():
    with torch.random.fork_rng(devices=[]):
        inside = (torch.manual_seed(1), torch.randn(2))[1]
    return torch.cat([inside, torch.randn(2)])


DRAWS["forked"] = forked


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_every_draw_is_that_of_the_seeded_default_generator_and_leaves_it_alone(draw):
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            torch.manual_seed(4)
            expected = [draw(), draw()]
            torch.manual_seed(77)
            before = streams()
            with private_noise(4):
                found = [draw(), draw()]
            assert streams() == before
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one, other)


def test_a_generator_of_its_own_is_drawn_from_as_it_is():
    own = torch.Generator().manual_seed(3)
    expected = torch.rand(4, generator=torch.Generator().manual_seed(3))
    with private_noise(8) as noise:
        assert torch.equal(torch.rand(4, generator=own), expected)
    assert not noise.used


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_only_what_draws_counts_as_drawn(share):
    layer = nn.Sequential(nn.Linear(6, 4), nn.Dropout(share), nn.ReLU())
    with private_noise() as noise, torch.no_grad():
        layer.eval()(X)
        assert not noise.used
        torch.native_dropout(X, share, False)
        assert not noise.used
        F.scaled_dot_product_attention(*[X.reshape(1, 2, 6, 6)] * 3, is_causal=True)
        torch.rand(3, device="meta")  # has no values
        torch.get_rng_state()
        assert not noise.used
        layer.train()(X)
    assert noise.used == (share > 0) == ("bernoulli_" in noise.drawn)


def test_a_draw_that_takes_no_generator_is_refused_by_name():
    def fused():
        q = torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(0))
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q, 0.5)

    with private_noise(), pytest.raises(NotImplementedError, match=r"frozen_noise: .*flash_attention_for_cpu on cpu"):
        fused()


def test_noise_within_noise_is_its_own():
    with private_noise(1):
        first = torch.rand(1)
        with private_noise(2):
            inner = torch.rand(1)
            torch.manual_seed(5)
        second = torch.rand(1)
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(torch.cat([first, second]), torch.cat([torch.rand(1, generator=generator) for _ in range(2)]))
    assert torch.equal(inner, torch.rand(1, generator=torch.Generator().manual_seed(2)))


def test_the_stream_is_as_it_was_after_an_exception():
    before = streams()

    @lw.frozen_noise
    def failing():
        torch.manual_seed(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert streams() == before
    torch.manual_seed(6)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(6)))


def test_another_thread_draws_from_the_default_generator_meanwhile():
    """The user's cell beside a worker whose loss seeds, draws and forks without pause."""
    stop, worked = threading.Event(), []

    def work():
        expected = torch.randn(5, generator=torch.Generator().manual_seed(3))
        while not stop.is_set():
            with private_noise(1), torch.random.fork_rng(devices=[]):
                torch.manual_seed(3)
                worked.append(torch.equal(torch.randn(5), expected))
                torch.seed()
            began.set()

    began = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    began.wait(60)
    own = torch.Generator().manual_seed(42)
    torch.manual_seed(42)
    right = [torch.equal(torch.rand(3), torch.rand(3, generator=own)) for _ in range(500)]
    stop.set()
    thread.join()
    assert all(right)
    assert all(worked)


class Autoencoder(nn.Module):
    """Kingma & Welling 2013: draws its code in every mode."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x):
        mean, log_variance = self.encode(x).chunk(2, dim=1)
        return self.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp()), mean, log_variance


class Dropping(nn.Sequential):
    """Monte Carlo dropout (Gal & Ghahramani 2016): it stays on."""

    def __init__(self):
        super().__init__(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))

    def forward(self, x):
        return self[2](F.dropout(self[1](self[0](x)), 0.3, training=True))


def evidence(model, batch):
    x, mean, log_variance = model(batch[0])
    return F.mse_loss(x, batch[0]) + 0.01 * (mean**2 + log_variance.exp() - log_variance - 1).mean()


def diffusion(model, batch):
    """Ho et al. 2020: a time and a noise for every sample."""
    x = batch[0]
    kept = torch.linspace(0.99, 0.1, 20, dtype=x.dtype)[torch.randint(20, (len(x), 1))]
    noise = torch.randn_like(x)
    return F.mse_loss(model(kept.sqrt() * x + (1 - kept).sqrt() * noise), noise)


def masked(model, batch):
    hidden = torch.rand(batch[0].shape) < 0.3
    return ((model(batch[0].masked_fill(hidden, 0.0)) - batch[0])[hidden] ** 2).mean()


def gumbel(model, batch):
    return (F.gumbel_softmax(model(batch[0]), tau=0.5) * batch[0]).sum(dim=1).mean()


def sampled(model, batch):
    found = distributions.Normal(model(batch[0]), 0.5).rsample((3,))
    return (found - batch[1]).abs().mean() + distributions.Bernoulli(0.3).sample()


def plain(x):
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6))


LOSSES = {
    "VAE": (Autoencoder, evidence),
    "diffusion": (lambda: plain(6), diffusion),
    "masked": (lambda: plain(6), masked),
    "gumbel": (lambda: plain(6), gumbel),
    "distributions": (lambda: plain(6), sampled),
    "dropout by output": (Dropping, F.mse_loss),
    "dropout by model": (Dropping, lambda model, batch: F.mse_loss(model(batch[0]), batch[1])),
}


def by_hand(model, loss, batches, seed):
    """The mean over the samples, each batch after torch.manual_seed, in float64."""
    total, count = 0.0, 0
    for x, y in batches:
        torch.manual_seed(seed)
        with torch.no_grad():
            value = loss(model(x), y) if loss is F.mse_loss else loss(model, (x, y))
        total, count = total + len(x) * value.item(), count + len(x)
    return total / count


@pytest.mark.parametrize(("make", "loss"), LOSSES.values(), ids=LOSSES.keys())
def test_frozen_noise_is_the_loss_after_seeding_at_every_point_and_batch(make, loss):
    torch.manual_seed(1)
    a, b = make().double().eval(), make().double().eval()
    x = torch.randn(11, 6, dtype=torch.float64)
    batches = [(x[:4], x[:4].flip(1)), (x[4:8], x[4:8].flip(1)), (x[8:], x[8:].flip(1))]
    frozen = lw.frozen_noise(loss, seed=3)
    before = streams()
    objective = lw.Objective(a, batches, loss=frozen, metrics={"again": lw.frozen_noise(loss, seed=4)})
    line = lw.sample(objective, lw.Line(a, b), resolution=7, tolerance=0, cache=False)
    measured = objective.measure(b)
    assert streams() == before
    assert objective.shared == objective.without_effect == ()
    for t, value, again in zip(line.coords[0], line.values["loss"], line.values["again"], strict=True):
        model = at(a, [(1 - t, named(a)), (t, named(b))])
        assert value == pytest.approx(by_hand(model, loss, batches, 3), rel=1e-10)
        assert again == pytest.approx(by_hand(model, loss, batches, 4), rel=1e-10)
    assert measured["loss"] == pytest.approx(by_hand(b, loss, batches, 3), rel=1e-10)
    assert abs(measured["loss"] - measured["again"]) > 1e-6
    assert "noise of seed 3" in objective.provenance()["loss"]


@pytest.mark.parametrize(("make", "loss"), LOSSES.values(), ids=LOSSES.keys())
def test_unfrozen_noise_is_refused_with_ways_that_work(make, loss):
    model, data = make(), [(X, X.flip(1))]
    with pytest.raises(ValueError, match=r"deterministic in eval mode.*It draws random numbers \(.*frozen_noise"):
        lw.Objective(model, data, loss=loss)
    lw.Objective(model, data, loss=lw.frozen_noise(loss, seed=0))
    with pytest.raises(ValueError, match=r"got again = .*lw.frozen_noise\(again, seed=0\)"):
        lw.Objective(model, data, loss=lw.frozen_noise(loss, 0), metrics={"again": loss})


def test_the_other_ways_work_too():
    model = plain(6)

    def own(model, batch):
        generator = torch.Generator().manual_seed(0)
        return F.mse_loss(model(batch[0] + torch.randn(batch[0].shape, generator=generator)), batch[1])

    def given(model, batch):
        return F.mse_loss(model(batch[0] + batch[1]), batch[0])

    noise = torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = F.mse_loss(model(X + noise), X).item()
    assert lw.Objective(model, (X, X), loss=own).measure(model)["loss"] == pytest.approx(expected, rel=1e-6)
    assert lw.Objective(model, (X, noise), loss=given).measure(model)["loss"] == pytest.approx(expected, rel=1e-6)


def seeding(model, batch):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    shift = float(np.random.randn()) + random.random()  # noqa: NPY002
    return F.mse_loss(model(batch[0] + torch.randn_like(batch[0])), batch[1] + shift)


def seeding_by_torch(model, batch):
    torch.manual_seed(0)
    return F.mse_loss(model(batch[0] + torch.randn_like(batch[0])), batch[1])


def seeding_in_a_fork(model, batch):
    with torch.random.fork_rng(devices=[]):
        return seeding_by_torch(model, batch)


class SeedsItself(nn.Linear):
    def forward(self, x):
        torch.manual_seed(0)
        return super().forward(x + torch.randn_like(x))


SEEDING = {
    "torch": (lambda: plain(6), seeding_by_torch),
    "fork": (lambda: plain(6), seeding_in_a_fork),
    "the model": (lambda: SeedsItself(6, 6), F.mse_loss),
    "all three": (lambda: plain(6), seeding),
}


@pytest.mark.parametrize(("make", "loss"), SEEDING.values(), ids=SEEDING.keys())
def test_a_loss_that_seeds_itself_is_taken_and_no_stream_moves(make, loss):
    a, b = make().double(), make().double()
    data = [(X.double(), X.double().flip(1))]
    torch.manual_seed(9)
    before = streams()
    objective = lw.Objective(a, data, loss=loss)
    line = lw.sample(objective, lw.Line(a, b), resolution=5, tolerance=0, cache=False)
    objective.measure(b)
    objective.with_model(b).measure(a)
    lw.connect(objective, a, b, steps=2)
    lw.features(objective, a)
    assert streams() == before
    assert objective.shared == (("numpy.random", "random") if loss is seeding else ())
    for t, value in zip(line.coords[0], line.values["loss"], strict=True):
        model = at(a, [(1 - t, named(a)), (t, named(b))])
        assert value == pytest.approx(by_hand(model, loss, data, 0), rel=1e-10)


def test_a_loss_that_draws_without_effect_is_taken():
    def shuffling(output, target):
        order = torch.randperm(len(output))
        return (output[order] - target[order]).abs().max()

    model = plain(6)
    found = lw.Objective(model, (X, X), loss=shuffling).measure(model)["loss"]
    assert found == pytest.approx((model(X) - X).abs().max().item(), rel=1e-6)


def test_unseeded_draws_in_a_fork_are_no_function_of_the_parameters():
    """They repeat as long as nobody else draws, so two calls alone would not tell."""

    def loss(model, batch):
        with torch.random.fork_rng(devices=[]):
            return F.mse_loss(model(batch[0] + torch.randn_like(batch[0])), batch[1])

    with pytest.raises(ValueError, match="deterministic"):
        lw.Objective(plain(6), [(X, X)], loss=loss)


@pytest.mark.parametrize("draw", [lambda: np.random.rand(), lambda: random.random()])  # noqa: NPY002
def test_draws_by_numpy_and_python_are_refused_by_name(draw):
    with pytest.raises(ValueError, match=r"It uses (numpy\.)?random\. Draw from a generator made in the loss"):
        lw.Objective(plain(6), [(X, X)], loss=lambda output, target: F.mse_loss(output, target) * draw())


def test_on_another_thread_nothing_of_the_users_is_rolled_back():
    """`with_model` and `on` in a worker, while the user draws by all three."""
    model = plain(6)
    objective = lw.Objective(model, [(X, X)], loss=seeding_by_torch)
    stop, failures = threading.Event(), []

    def work():
        try:
            while not stop.is_set():
                objective.with_model(model).on([(X, X)]).measure(model)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    own = torch.Generator().manual_seed(1), np.random.RandomState(1), random.Random(1)
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    right = [
        (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
        == (torch.rand(1, generator=own[0]).item(), own[1].rand(), own[2].random())
        for _ in range(3000)
    ]
    stop.set()
    thread.join()
    assert failures == []
    assert all(right)


def test_shared_losses_on_several_threads_are_right_one_after_another():
    """Each seeds NumPy's generator; were two at it at once, one would draw the other's numbers."""

    def draw(seed):
        np.random.seed(seed)  # noqa: NPY002
        return [np.random.rand() for _ in range(200)]  # noqa: NPY002

    before, wrong = streams(), []
    shared = Shared(draw, ("numpy.random",))

    def work(seed):
        expected = np.random.RandomState(seed).rand(200).tolist()
        wrong.extend(seed for _ in range(20) if shared(seed) != expected)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert streams() == before


def test_shared_kept_tells_what_was_changed_and_puts_it_back():
    for change, name in (
        (lambda: torch.rand(1), "torch.default_generator"),
        (lambda: np.random.rand(), "numpy.random"),  # noqa: NPY002
        (lambda: random.random(), "random"),
    ):
        before = streams()
        with shared_kept() as changed:
            change()
        assert changed == [name]
        assert streams() == before
    np.random.seed(0), random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    before = streams()
    with shared_kept(seed=5) as changed:  # what sets a generator to the state that it has
        np.random.seed(0), random.seed(0)  # noqa: NPY002
    assert changed == ["numpy.random", "random"]
    with shared_kept(seed=5) as changed:
        pass
    assert changed == []
    assert streams() == before
    with shared_kept(("random",)) as changed:
        torch.rand(1)
    assert changed == []
    assert streams() != before


def test_undisturbed_puts_generators_back_that_it_is_given():
    own = torch.Generator().manual_seed(2)
    before, state = streams(), own.get_state()
    with undisturbed(own):
        torch.rand(3), torch.rand(3, generator=own), np.random.rand(), random.random()  # noqa: NPY002
    assert streams() == before
    assert torch.equal(own.get_state(), state)


def test_frozen_noise_has_its_losss_name_and_can_be_pickled_and_told_apart():
    frozen = lw.frozen_noise(evidence, seed=3)
    assert frozen.__name__ == "evidence"
    again = pickle.loads(pickle.dumps(frozen))
    model = Autoencoder()
    assert torch.equal(frozen(model, (X, X)), again(model, (X, X)))

    def digest(loss):
        return Content().add(loss).hexdigest()

    assert digest(again) == digest(frozen) == digest(lw.frozen_noise(evidence, 3))
    assert digest(lw.frozen_noise(evidence, 4)) != digest(frozen) != digest(lw.frozen_noise(diffusion, 3))
    with pytest.raises(TypeError, match="frozen_noise: loss must be a function, got int"):
        lw.frozen_noise(3)


def test_frozen_noise_has_the_gradient_of_the_seeded_loss():
    """A curve is trained on it: reparametrised draws are differentiated as any other value."""
    model = Autoencoder().double()
    batch = (X.double(), X.double())
    torch.manual_seed(3)
    expected = torch.autograd.grad(evidence(model, batch), list(model.parameters()))
    frozen = torch.autograd.grad(lw.frozen_noise(evidence, 3)(model, batch), list(model.parameters()))
    for one, other in zip(expected, frozen, strict=True):
        assert torch.equal(one, other)


def test_frozen_noise_recalibrates_and_is_the_same_beside_other_objectives():
    torch.manual_seed(2)
    a, b = (nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 6)) for _ in range(2))
    objective = lw.Objective(a, (X, X), loss=lw.frozen_noise(masked, 5))
    line = lw.sample(objective, lw.Line(a, b), resolution=3, tolerance=0, cache=False)
    half = copy.deepcopy(a).double()
    with torch.no_grad():
        for parameter, one, other in zip(half.parameters(), a.parameters(), b.parameters(), strict=True):
            parameter.copy_((one.double() + other.double()) / 2)
        torch.manual_seed(5)
        hidden = torch.rand(X.shape) < 0.3
        inputs = X.double().masked_fill(hidden, 0.0)
        norm = half[1]
        seen = half[0](inputs)
        norm.running_mean.copy_(seen.mean(dim=0))
        norm.running_var.copy_(seen.var(dim=0))
        expected = ((half.eval()(inputs) - X)[hidden] ** 2).mean().item()
    assert line.values["loss"][1] == pytest.approx(expected, rel=1e-5)


def test_analytic_functions_that_draw():
    def rollout(u):
        torch.manual_seed(4)
        return (u + torch.randn(1, 2, dtype=torch.float64)).square().sum(dim=1)

    def noisy(u):
        return (u + torch.randn(1, 2, dtype=torch.float64)).square().sum(dim=1)

    torch.manual_seed(4)
    noise = torch.randn(1, 2, dtype=torch.float64)
    before = streams()
    for f in (rollout, lw.frozen_noise(noisy, 4)):
        objective = lw.Objective.from_function(f, dim=2)
        plane = lw.sample(objective, lw.Subspace.identity(2), resolution=(5, 3), tolerance=0, cache=False)
        x, y = np.meshgrid(*plane.coords, indexing="ij")
        expected = (x + noise[0, 0].item()) ** 2 + (y + noise[0, 1].item()) ** 2
        np.testing.assert_allclose(plane.values["loss"], expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"from_function: f must be deterministic.*randn"):
        lw.Objective.from_function(noisy, dim=2)
    with pytest.raises(ValueError, match="beside others as alone"):  # a point's noise would be that of its place
        lw.Objective.from_function(lw.frozen_noise(lambda u: (u + torch.randn_like(u)).sum(dim=1)), dim=2)
    assert streams() == before
