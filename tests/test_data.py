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


class Numbered:
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], int(Y[i])


CONTAINERS = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "list of arrays": lambda: [X.numpy(), Y.numpy()],
    "dataset": lambda: TensorDataset(X, Y),
    "iterable dataset": lambda: Streamed(),
    "what has a dataset's methods": lambda: Numbered(),
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


NAMED = {"x": X, "y": Y}


def named_loss(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["y"].long())


ROWS = [{"x": x.tolist(), "y": int(y)} for x, y in zip(X, Y, strict=True)]


@pytest.mark.parametrize(
    ("data", "loss"),
    [
        (lambda: (X.tolist(), Y.tolist()), F.cross_entropy),
        (lambda: (X.numpy(), Y.tolist()), F.cross_entropy),
        (lambda: (list(X), Y.tolist()), F.cross_entropy),
        (lambda: [(x, int(y)) for x, y in zip(X, Y, strict=True)], F.cross_entropy),
        (lambda: [(x.numpy(), int(y)) for x, y in zip(X, Y, strict=True)], F.cross_entropy),
        (lambda: [(x.tolist(), int(y)) for x, y in zip(X, Y, strict=True)], F.cross_entropy),
        (lambda: ROWS, named_loss),
        (lambda: NAMED, named_loss),
        (lambda: {"x": X.numpy(), "y": Y.numpy()}, named_loss),
        (lambda: ((X, {"more": X}), Y), lambda model, b: F.cross_entropy(model(b[0][0]), b[1])),
        (lambda: ({"x": X}, Y), lambda model, b: F.cross_entropy(model(b[0]["x"]), b[1])),
        (lambda: [((X[:9], X[:9]), Y[:9]), ((X[9:], X[9:]), Y[9:])], lambda m, b: F.cross_entropy(m(b[0][0]), b[1])),
        (lambda: Held(X, Y), lambda model, b: F.cross_entropy(model(b.x), b.y)),
        (lambda: [Held(X[:9], Y[:9]), Held(X[9:], Y[9:])], lambda model, b: F.cross_entropy(model(b.x), b.y)),
        (lambda: (X.to_sparse(), Y), F.cross_entropy),
    ],
    ids=[
        *("two lists", "array and list", "list of tensors", "samples", "samples of arrays", "samples of lists", "rows"),
        *("dict", "dict of arrays", "nested pair", "dict and labels", "nested batches", "object", "objects", "sparse"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_whatever_holds_the_samples_gives_the_same_loss(data, loss, dtype):
    """What is no tensor is rounded to the model's dtype; float64 tensors are the user's choice, and refused by name."""
    model, data = MLP.model(0, dtype), data()
    if dtype == torch.float32 and any(isinstance(t, torch.Tensor) and t.is_floating_point() for t in inside(data)):
        with pytest.raises(TypeError, match=r"hold torch.float64 where the model's parameters are torch.float32"):
            lw.Objective(model, data, loss=loss)
        return
    found = lw.Objective(model, data, loss=loss).measure(model)["loss"]
    exact = MLP.plain_loss(MLP.model(0, torch.float64)) if dtype == torch.float64 else MLP.plain_loss(model)
    assert found == pytest.approx(exact, rel=1e-12 if dtype == torch.float64 else 1e-6)


def inside(data):
    """Everything in a container or an object."""
    if isinstance(data, dict):
        parts = data.values()
    elif isinstance(data, list | tuple):
        parts = data
    else:
        parts = vars(data).values() if isinstance(data, Held) else ()
    return [data, *(each for part in parts for each in inside(part))]


class Held:
    def __init__(self, x, y):
        self.x, self.y, self.note = x, y, ["anything"]


def test_frames_of_pandas_are_data():
    pandas = pytest.importorskip("pandas")
    model = MLP.model(0)
    objective = lw.Objective(model, (pandas.DataFrame(X.numpy()), pandas.Series(Y.numpy())), loss=F.cross_entropy)
    assert objective.measure(model)["loss"] == pytest.approx(MLP.plain_loss(model), rel=1e-6)


def test_the_digits_of_scikit_learn_are_data():
    from sklearn.datasets import load_digits

    model = torch.nn.Linear(64, 10)
    images, labels = load_digits(return_X_y=True)
    found = lw.Objective(model, (images, labels), loss=F.cross_entropy).measure(model)["loss"]
    plain = F.cross_entropy(model(torch.tensor(images).float()), torch.tensor(labels)).item()
    assert found == pytest.approx(plain, rel=1e-6)
    with pytest.raises(TypeError, match=r"scikit-learn's Bunch. Pass \(bunch.data, bunch.target\)"):
        lw.Objective(model, load_digits(), loss=F.cross_entropy)
    bunch = load_digits()
    assert lw.Objective(model, (bunch.data, bunch.target), loss=F.cross_entropy).measure(model)["loss"] == found


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield X[0], Y[0]


class Unequal(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return torch.zeros(3, 4 + i), {"boxes": torch.zeros(i, 4)}


class Once:
    def __init__(self):
        self.batches = iter([(X, Y)])

    def __iter__(self):
        return self.batches


PADDED = [X[:n, 0] for n in range(3, 23)]


def padding(samples):
    return torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda: "train.pt", TypeError, r"got the path or text 'train.pt'. Load it first, .* data=torch.load\(path\)"),
        (lambda: {"train": TensorDataset(X, Y)}, TypeError, r"dict of TensorDatasets with the keys 'train'. Pass one"),
        (lambda: Endless(), ValueError, r"batches .* of the Endless and no end in sight. .* list\(itertools.islice"),
        (lambda: DataLoader(Endless(), 4), ValueError, r"of the DataLoader and no end in sight"),
        (lambda: Unequal(), TypeError, r"default_collate says: .*equal size.* DataLoader\(.*, collate_fn=...\)"),
        (lambda: Once(), ValueError, r"got a Once whose second pass gave nothing. Make it anew .* data=list\(loader\)"),
        (
            lambda: DataLoader(PADDED, 4, shuffle=True, collate_fn=padding),
            ValueError,
            r"in other shapes: sequences padded to the longest of their batch, .* data=list\(loader\)",
        ),
        (
            lambda: ((X[:20], X[:20]), (X[20:40], X[20:40])),
            ValueError,
            r"may be both. Pass a list: \[\(inputs, targets\)\]",
        ),
        (lambda: (np.ma.masked_greater(X.numpy(), 1), Y), TypeError, r"masked array .* Pass array.filled\(value\)"),
    ],
    ids=["path", "splits", "stream", "endless loader", "collate", "once", "padding", "ambiguous", "masked"],
)
def test_what_cannot_be_taken_is_named_for_what_it_is(data, error, message, monkeypatch):
    monkeypatch.setattr("lwidgets.data._MOST", 20)
    monkeypatch.setattr("lwidgets.data._READ", 4)
    with pytest.raises(error, match=message):
        lw.Objective(MLP.model(0, torch.float64), data(), loss=lambda model, batch: model(batch[0]).square().mean())


def test_the_ways_out_of_these_work():
    model = MLP.model(0, torch.float64)

    def square(model, batch):
        return model(batch[0]).square().mean()

    lw.Objective(model, list(itertools.islice(DataLoader(Endless(), 4), 3)), loss=square)
    lw.Objective(model, list(Once()), loss=square)
    lw.Objective(model, [((X[:20], X[:20]), (X[20:40], X[20:40]))], loss=lambda model, b: square(model, b[0]))
    lw.Objective(model, [(X[:20], X[:20]), (X[20:40], X[20:40])], loss=square)
    lw.Objective(model, DataLoader(TensorDataset(X, Y), batch_size=64), loss=F.cross_entropy)
    loader = DataLoader(PADDED, 4, collate_fn=padding)
    narrow = torch.nn.Linear(1, 2).double()

    def of_rows(model, batch):
        return torch.stack([model(row[row != 0][:, None]).mean() for row in batch]).mean()

    first, second = (lw.Objective(narrow, data, loss=of_rows) for data in (loader, list(loader)))
    assert first.measure(narrow) == second.measure(narrow)


def test_a_stream_that_says_its_length_may_be_long(monkeypatch):
    monkeypatch.setattr("lwidgets.data._MOST", 3)
    assert loss_on(DataLoader(TensorDataset(X, Y), 4)) == pytest.approx(loss_on((X, Y)), rel=1e-13)
    assert loss_on(list(zip(X.split(4), Y.split(4), strict=True))) == pytest.approx(loss_on((X, Y)), rel=1e-13)


class TimeFirst(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.GRU(1, 3)

    def forward(self, x):
        return self.rnn(x)[0]


def test_a_shuffling_loader_of_batches_with_time_first_is_taken():
    model = TimeFirst().double()
    samples = list(X)
    data = DataLoader(samples, 7, shuffle=True, collate_fn=lambda rows: torch.stack(rows, dim=1)[..., None])
    objective = lw.Objective(model, data, loss=lambda model, x: model(x).square().mean())
    plain = torch.stack([model(x[:, None]).square().mean() for x in samples]).mean().item()
    assert objective.measure(model)["loss"] == pytest.approx(plain, rel=1e-12)


OBJECTS = {
    "tuple": lambda: (X, Y),
    "object": lambda: Held(X, Y),
    "objects in dicts in lists": lambda: [{"held": Held(X, [Y, Held(X[:3], Y[:3])])}],
    "arrays": lambda: {"x": X.numpy(), "y": Y.numpy()},
    "sparse": lambda: (X.to_sparse(), Y),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_tensor_of_a_batch_goes_to_the_device(name):
    """The meta device is one that everything can go to."""
    from lwidgets.batch import leaves

    (batch,) = Batches.of([OBJECTS[name]()], torch.device("meta")).batches
    assert leaves(batch)
    assert all(leaf.device.type == "meta" for leaf in leaves(batch))
    assert all(leaf.device.type == "cpu" for leaf in leaves(OBJECTS[name]()))


@pytest.mark.parametrize("reach", ["x", "note"])
def test_what_a_user_changes_later_in_an_object_changes_nothing(reach):
    held = Held(X.clone(), Y)
    model = MLP.model(0, torch.float64)
    objective = lw.Objective(model, [held], loss=lambda m, b: len(b.note) * F.cross_entropy(m(b.x), b.y))
    before, fingerprint = objective.measure(model)["loss"], objective.data.fingerprint
    held.x.mul_(3)
    held.note.append("more")
    assert objective.measure(model)["loss"] == before
    other = lw.Objective(model, [Held(X if reach == "note" else 3 * X, Y)], loss=lambda m, b: m(b.x).square().mean())
    assert (other.data.fingerprint == fingerprint) == (reach == "note")


def test_what_a_model_writes_into_an_object_is_gone_at_the_next_point():
    model = MLP.model(0, torch.float64)

    def loss(model, b):
        b.note.append("seen")
        return F.cross_entropy(model(b.x.clamp_(max=0.5)), b.y) * len(b.note)

    held = Held(X.clone(), Y)
    objective = lw.Objective(model, [held], loss=loss)
    assert objective.measure(model) == objective.measure(model)
    assert torch.equal(held.x, X)
    assert held.note == ["anything"]


def test_objects_that_differ_between_passes_are_refused_and_shuffled_graphs_are_not():
    class Noisy:
        def __iter__(self):
            yield Held(X + torch.randn_like(X), Y)

    with pytest.raises(ValueError, match=r"second pass of the Noisy did not repeat"):
        lw.Objective(MLP.model(0, torch.float64), Noisy(), loss=lambda m, b: F.cross_entropy(m(b.x), b.y))
    data = pytest.importorskip("torch_geometric.data")
    loader = pytest.importorskip("torch_geometric.loader")
    graphs = [data.Data(x=x[: n + 1, None], y=y[None]) for n, (x, y) in enumerate(zip(X[:5], Y, strict=False))]
    model = torch.nn.Linear(1, 3).double()

    def loss(model, b):
        return F.cross_entropy(torch.zeros(len(b.y), 3).double().index_add(0, b.batch, model(b.x)), b.y)

    values = {
        lw.Objective(model, loader.DataLoader(graphs, size, shuffle=True), loss=loss)
        .measure(model)["loss"]
        .__round__(12)
        for size in (1, 2, 3, 5)
    }
    values.add(round(lw.Objective(model, graphs, loss=loss).measure(model)["loss"], 12))
    assert len(values) == 1
