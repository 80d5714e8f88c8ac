"""Data: read once, the same at every point, weighted by sample, in whatever container they come."""

import itertools
import random
from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import lwidgets as lw
from lwidgets.data import Batches, Copies
from tests.models import MLP, everything_about, same

X, Y = MLP.samples(torch.float64)
CPU = torch.device("cpu")


def loss_on(data, loss=F.cross_entropy):
    model = MLP.model(0, torch.float64)
    return lw.Objective(model, data, loss=loss).measure(model)["loss"]


class Augmented(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i] + 0.1 * torch.randn(6), Y[i]


class Streamed(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


CONTAINERS = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "list of arrays": lambda: [X.numpy(), Y.numpy()],
    "dataset": lambda: TensorDataset(X, Y),
    "iterable dataset": lambda: Streamed(),
    "loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=10),
    "shuffling loader": lambda: DataLoader(TensorDataset(X, Y), batch_size=10, shuffle=True),
    "shuffling loader with its own generator": lambda: DataLoader(
        TensorDataset(X, Y), batch_size=7, shuffle=True, generator=torch.Generator().manual_seed(3)
    ),
    "list of batches": lambda: list(zip(X.split(9), Y.split(9), strict=True)),
    "tuple of batches": lambda: tuple(zip(X.split(9), Y.split(9), strict=True)),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_trap_7_every_container_gives_the_same_loss(container):
    """41 samples do not divide into batches of 7, 9 or 10: the last batch is ragged and must weigh less."""
    assert loss_on(CONTAINERS[container]()) == pytest.approx(MLP.plain_loss(MLP.model(0, torch.float64)), rel=1e-13)


def test_trap_7_a_shuffling_loader_gives_the_landscape_of_the_tensors():
    plane = lw.Plane.random(MLP.model(0, torch.float64))
    landscapes = [
        lw.sample(
            MLP.objective(torch.float64)
            if data is None
            else lw.Objective(MLP.model(0, torch.float64), data, loss=F.cross_entropy),
            plane,
            resolution=(9, 5),
        )
        for data in (None, DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=True))
    ]
    np.testing.assert_allclose(landscapes[0].values["loss"], landscapes[1].values["loss"], rtol=1e-11)
    assert (landscapes[0].evaluated == landscapes[1].evaluated).all()


@given(st.lists(st.integers(1, 40), max_size=8, unique=True))
def test_trap_7_how_the_data_are_split_never_changes_the_loss(cuts):
    edges = [0, *sorted(cuts), 41]
    batches = [(X[i:j], Y[i:j]) for i, j in itertools.pairwise(edges)]
    assert loss_on(batches) == pytest.approx(loss_on((X, Y)), rel=1e-13)


@given(st.permutations(range(41)))
def test_the_fingerprint_sees_the_samples_and_not_their_order(order):
    assert Batches.of((X[order], Y[order]), CPU).fingerprint == Batches.of((X, Y), CPU).fingerprint
    changed = Y.clone()
    changed[order[0]] = (changed[order[0]] + 1) % 3
    assert Batches.of((X, changed), CPU).fingerprint != Batches.of((X, Y), CPU).fingerprint


def test_trap_7_an_augmenting_loader_is_refused_by_name_and_freezing_one_pass_works():
    loader = DataLoader(Augmented(), batch_size=10)
    with pytest.raises(
        ValueError, match=r"got 41 of 41 .* second pass of the DataLoader did not repeat \(augmentation"
    ) as caught:
        loss_on(loader)
    assert "data=list(loader)" in str(caught.value)
    assert np.isfinite(loss_on(list(loader)))


def test_trap_7_one_changed_sample_is_enough():
    class OneJitters(Augmented):
        def __getitem__(self, i):
            return (X[i] if i else X[i] + torch.rand(6)), Y[i]

    with pytest.raises(ValueError, match=r"got 1 of 41"):
        loss_on(DataLoader(OneJitters(), batch_size=10, shuffle=True))


def test_trap_7_dropping_a_random_last_batch_is_refused():
    with pytest.raises(ValueError, match=r"drop_last with shuffling"):
        loss_on(DataLoader(TensorDataset(X, Y), batch_size=10, shuffle=True, drop_last=True))


def test_trap_7_a_one_shot_iterator_is_refused_and_a_list_of_it_works():
    def batches():
        return zip(X.split(9), Y.split(9), strict=True)

    for once in (batches(), iter(list(batches())), (b for b in batches())):
        with pytest.raises(TypeError, match=r"readable more than once, got the one-shot iterator .* list\(iterator\)"):
            loss_on(once)
    assert loss_on(list(batches())) == pytest.approx(loss_on((X, Y)), rel=1e-13)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X[:0], Y[:0]), ValueError, "at least one sample, got none. Check the dataset"),
        ([], ValueError, "at least one sample, got none"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), ValueError, "at least one sample, got none"),
        ((X, Y[:40]), ValueError, r"one length along the first axis, got \[41, 40\]. Pass X and y of the same samples"),
        ([X, Y], TypeError, r"\(X, y\)"),  # a list of tensors is a list of batches; the message must show the way out
        (5, TypeError, r"must be \(X, y\), a Dataset, a DataLoader or a list of batches, got int"),
    ],
)
def test_what_is_no_data_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        loss_on(data)


Pair = namedtuple("Pair", "images labels")


@pytest.mark.parametrize("make", [lambda x, y: {"images": x, "labels": y}, Pair], ids=["dict", "namedtuple"])
def test_dicts_and_named_tuples_keep_their_type_and_their_names(make):
    def loss(model, batch):
        images, labels = (batch["images"], batch["labels"]) if isinstance(batch, dict) else (batch.images, batch.labels)
        return F.cross_entropy(model(images), labels)

    batches = [make(x, y) for x, y in zip(X.split(9), Y.split(9), strict=True)]
    for data in (batches, make(X, Y)):
        assert loss_on(data, loss) == pytest.approx(loss_on((X, Y)), rel=1e-13)


def test_batches_of_arrays_are_weighted_by_sample_too():
    def loss(model, batch):
        return F.cross_entropy(model(torch.as_tensor(batch[0])), torch.as_tensor(batch[1]))

    batches = [(x.numpy(), y.numpy()) for x, y in zip(X.split(9), Y.split(9), strict=True)]
    assert loss_on(batches, loss) == pytest.approx(loss_on((X, Y)), rel=1e-13)


def test_trap_7_reading_the_data_leaves_every_generator_alone():
    own = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(X, Y), batch_size=10, shuffle=True, generator=own)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate(), own.get_state()  # noqa: NPY002
    loss_on(DataLoader(TensorDataset(X, Y), batch_size=10, shuffle=True))
    loss_on(loader)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert before[2] == random.getstate()
    assert torch.equal(before[3], own.get_state()), "the loader's own generator: the next epoch would be another one"


class LegacySampler:
    """Shuffles with the global generators of Python and NumPy, as much training code does."""

    def __len__(self):
        return len(X)

    def __iter__(self):
        order = np.random.permutation(len(X)).tolist()  # noqa: NPY002
        random.shuffle(order)
        return iter(order)


def test_trap_7_a_sampler_that_draws_from_numpy_and_python_leaves_them_as_they_were():
    before = np.random.get_state()[1].tolist(), np.random.get_state()[2], random.getstate()  # noqa: NPY002
    loss_on(DataLoader(TensorDataset(X, Y), batch_size=10, sampler=LegacySampler()))
    assert before == (np.random.get_state()[1].tolist(), np.random.get_state()[2], random.getstate())  # noqa: NPY002


def test_the_data_are_kept_as_they_were():
    """A later change of the user's tensors in place must not move the landscape under the pictures already drawn."""
    model, x = MLP.model(0, torch.float64), X.clone()
    objective = lw.Objective(model, (x, Y), loss=F.cross_entropy)
    before = objective.measure(model)["loss"]
    x += 1.0
    assert objective.measure(model)["loss"] == before


def test_a_loss_that_asks_for_gradients_of_its_input_leaves_no_flag_on_the_data():
    def loss(model, batch):
        batch.requires_grad_()
        return torch.autograd.grad(model(batch).sum(), batch, create_graph=True)[0].square().mean()

    model, x = MLP.model(0, torch.float64), X.clone()
    record = everything_about(model)
    objective = lw.Objective(model, x, loss=loss)
    assert objective.measure(model)["loss"] == objective.measure(model)["loss"]
    assert not x.requires_grad
    assert same(record, everything_about(model))


class Writes(torch.nn.Module):
    """Does something to its input that must not be seen at the next point."""

    def __init__(self, write):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.write = write
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.write(x, self.calls)
        return self.layer(x)


@pytest.mark.parametrize(
    "write",
    [
        lambda x, call: x.mul_(2),
        lambda x, call: x.add_(call) if call > 5 else None,
        lambda x, call: x.data.mul_(2),
        lambda x, call: x.numpy().__imul__(2),
        lambda x, call: x[:2].zero_(),
        lambda x, call: x.requires_grad_(),
        lambda x, call: x.t_().t_(),
    ],
    ids=["in place", "later", "past torch", "NumPy", "a view", "gradient", "shape"],
)
def test_what_a_model_writes_into_its_data_is_gone_at_the_next_point(write):
    inputs, labels = torch.randn(20, 3), torch.randint(0, 2, (20,))
    model = Writes(write)
    data = Batches.of([(inputs[:12], labels[:12]), (inputs[12:], labels[12:])], torch.device("cpu"))
    copies = Copies(data)
    for _ in range(10):
        for (x, y), (kept, target) in zip((batch for batch, _ in copies), data.batches, strict=True):
            assert torch.equal(x, kept)
            assert not x.requires_grad
            assert torch.equal(y, target)
            with torch.no_grad():
                model(x)
    assert torch.equal(data.batches[0][0], inputs[:12])


def test_data_are_copied_once_when_nothing_writes_into_them():
    data = Batches.of((torch.randn(20, 3), torch.full((20, 2), float("nan"))), torch.device("cpu"))
    copies = Copies(data)
    places = {tuple(leaf.data_ptr() for leaf in batch) for _ in range(4) for batch, _ in copies}
    assert len(places) == 1
    assert not places & {tuple(leaf.data_ptr() for leaf in batch) for batch in data.batches}


def test_containers_of_a_batch_are_new_every_time():
    copies = Copies(Batches.of({"x": torch.randn(4, 3), "y": torch.arange(4)}, torch.device("cpu")))
    for _ in range(3):
        for batch, size in copies:
            assert (set(batch), size) == ({"x", "y"}, 4)
            batch.pop("y")


def test_in_inference_mode_data_are_copied_every_time():
    data = Batches.of((torch.randn(20, 3), torch.arange(20)), torch.device("cpu"))
    with torch.inference_mode():
        copies = Copies(data)
        for _ in range(3):
            for (x, _), _ in copies:
                assert torch.equal(x, data.batches[0][0])
                x.zero_()
