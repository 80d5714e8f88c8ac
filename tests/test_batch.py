"""One batch: opened by one walk, copied without a constructor, divided into samples along whatever axis it has."""

import threading
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from lwidgets.batch import Cut, as_tensor, cuts_of, digest, leaves, mapped


@dataclass
class Plain:
    x: Any
    word: str = "word"


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    word: str = "word"


class Slotted:
    __slots__ = ("word", "x")

    def __init__(self, x):
        self.x, self.word = x, "word"


class Strict:
    """Its constructor may not run again."""

    made = 0

    def __init__(self, x):
        type(self).made += 1
        self.x, self.word = x, "word"
        self.lock, self.stream, self.call = threading.Lock(), (i for i in range(3)), lambda: self.x


class Attributed(dict):
    __getattr__ = dict.__getitem__


Pair = namedtuple("Pair", "x word")

HOLDERS = {
    "tuple": lambda x: (x, "word"),
    "list": lambda x: [x, "word"],
    "dict": lambda x: {"x": x, "word": "word"},
    "ordered dict": lambda x: OrderedDict(x=x, word="word"),
    "default dict": lambda x: defaultdict(list, x=x, word="word"),
    "user dict": lambda x: UserDict(x=x, word="word"),
    "dict with attributes": lambda x: Attributed(x=x, word="word"),
    "named tuple": lambda x: Pair(x, "word"),
    "dataclass": Plain,
    "frozen dataclass with slots": Frozen,
    "slots": Slotted,
    "what cannot be copied inside": Strict,
    "dataclass in a dict in a list": lambda x: [{"inner": Plain(x)}],
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_copy_has_other_tensors_and_is_else_the_same(name):
    x = torch.arange(6.0).reshape(3, 2)
    batch = HOLDERS[name](x)
    made = Strict.made
    twice = mapped(batch, lambda t: 2 * t)
    assert Strict.made == made
    assert type(twice) is type(batch)
    ((found,), (own,)) = leaves(twice), leaves(batch)
    assert torch.equal(found, 2 * x)
    assert own is x
    assert torch.equal(x, torch.arange(6.0).reshape(3, 2))


def test_a_copy_keeps_what_is_shared_shared_and_breaks_cycles():
    x = torch.ones(3)
    cycle = Plain(x)
    cycle.word = [cycle, x]
    batch = (x, cycle, x)
    assert len(leaves(batch)) == 1
    copied = mapped(batch, torch.clone)
    assert copied[0] is copied[2] is copied[1].x is copied[1].word[1]
    assert copied[1].word[0] is copied[1]
    assert copied[0] is not x


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(6).reshape(2, 3)[:, ::-1],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.ma.masked_array(np.arange(6.0).reshape(2, 3)),
        np.float32(1.5) * np.ones((2, 3), np.float16),
        np.ones((2, 3), bool),
    ],
    ids=["plain", "reversed", "big endian", "columns first", "nothing masked", "half", "bool"],
)
def test_arrays_become_tensors_of_the_same_numbers(array):
    tensor = as_tensor(array)
    np.testing.assert_array_equal(tensor.numpy(), np.asarray(array))
    array = np.array(array)
    array.flags.writeable = False  # torch warns of these
    np.testing.assert_array_equal(as_tensor(array).numpy(), array)


def test_what_offers_an_array_becomes_a_tensor():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3.0)

    assert torch.equal(as_tensor(Foreign()), torch.arange(3.0, dtype=torch.float64))
    assert as_tensor("word") is None
    assert as_tensor(3.0) is None
    assert as_tensor(np.array(["a", "b"])) is None


def test_a_mask_is_never_lost():
    masked = np.ma.masked_greater(np.arange(6.0), 3)
    with pytest.raises(TypeError, match=r"masked array in which 2 of 6 entries are. Pass array.filled\(value\)"):
        as_tensor(masked)
    assert torch.equal(as_tensor(masked.filled(0)), torch.tensor([0.0, 1, 2, 3, 0, 0], dtype=torch.float64))


def test_frames_become_tensors_or_name_the_column():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.5, 2.5], "b": [3, 4]})
    assert torch.equal(as_tensor(frame), torch.tensor([[1.5, 3], [2.5, 4]], dtype=torch.float64))
    assert torch.equal(as_tensor(pandas.Series([1, 2], dtype="Int64")), torch.tensor([1, 2]))
    with pytest.raises(TypeError, match=r"must be numbers, got a DataFrame of .* in 'b'. Turn words") as caught:
        as_tensor(pandas.DataFrame({"a": [1.0, 2], "b": ["x", "y"]}))
    assert "pandas.factorize(column)[0]" in str(caught.value)
    assert as_tensor(pandas.factorize(pandas.Series(["x", "y"]))[0]).tolist() == [0, 1]
    with pytest.raises(TypeError, match=r"some of which are missing. Leave them out with .dropna\(\)"):
        as_tensor(pandas.Series([1, None], dtype="Int64"))


def nested(*lengths):
    parts = [torch.arange(2.0 * n).reshape(n, 2) for n in lengths]
    return torch.nested.nested_tensor(parts, layout=torch.jagged)


def dense(column):
    """What a column holds, sample by sample, by other means."""
    if isinstance(column, list):
        return column
    if isinstance(column, torch.nn.utils.rnn.PackedSequence):
        return [t.tolist() for t in unpack_sequence(column)]
    if column.is_nested:
        return [t.tolist() for t in column.unbind()]
    return column.to_dense().tolist()


MATRIX = torch.eye(4) + torch.diag(torch.ones(3), 1)
COLUMNS = {
    "strided": lambda: MATRIX.clone(),
    "sparse": lambda: MATRIX.to_sparse(),
    "packed": lambda: pack_sequence([torch.ones(n, 2) * n for n in (2, 3, 1, 4)], enforce_sorted=False),
    "nested": lambda: nested(2, 3, 1, 4),
    "words": lambda: list("abcd"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_kind_of_column_is_taken_apart_and_put_together(name):
    batch = {"column": COLUMNS[name](), "y": torch.arange(4)}
    cut = cuts_of(batch)[0]
    assert cut.count(batch) == 4
    every = dense(batch["column"])
    for order in ([2, 0, 3, 1], [1], [3, 3, 0]):
        taken = cut.take(batch, order)
        assert cut.count(taken) == len(order)
        assert dense(taken["column"]) == [every[i] for i in order]
        assert taken["y"].tolist() == order
    together = cut.join([cut.take(batch, [3, 1]), cut.take(batch, [0, 2])])
    assert dense(together["column"]) == [every[i] for i in (3, 1, 0, 2)]
    assert digest(mapped(batch, torch.clone)) == digest(batch)
    assert digest(cut.take(batch, [1, 0, 2, 3])) != digest(batch)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_compressed_rows_are_taken_apart():
    csr = MATRIX.to_sparse_csr()
    cut = cuts_of(csr)[0]
    assert torch.equal(cut.take(csr, [2, 0]).to_dense(), MATRIX[[2, 0]])
    assert cut.take(csr, [2, 0]).layout is torch.sparse_csr
    assert torch.equal(cut.join([csr, csr]).to_dense(), torch.cat([MATRIX, MATRIX]))


@pytest.mark.parametrize(
    ("batch", "counts"),
    [
        ((torch.zeros(7, 3), torch.zeros(7)), [7]),
        ((torch.zeros(5, 7, 3), torch.zeros(7)), [7]),
        ((torch.zeros(5, 7), torch.zeros(5, 7)), [5, 7]),
        ((torch.zeros(5, 5), torch.zeros(5, 5)), [5, 5]),
        ([torch.zeros(3, 4), torch.zeros(3, 5), torch.zeros(2, 4)], [3]),
        (([torch.zeros(3, 4), torch.zeros(3, 5)], [{"y": torch.zeros(4)}, {"y": torch.zeros(1)}]), [2]),
        ({"words": ["a", "b"], "y": torch.zeros(2)}, [2]),
        ({"classes": ["a", "b", "c"], "y": torch.zeros(2)}, [2]),
        ({"x": torch.zeros(4, 2), "scale": torch.tensor(2.0)}, [4, 2]),
        ((torch.zeros(6), torch.tensor(1)), []),
        ({"edges": torch.zeros(2, 9), "x": torch.zeros(4, 3)}, []),
        (torch.tensor(1.0), []),
        ("word", []),
    ],
    ids=str,
)
def test_the_sizes_that_a_batch_may_have(batch, counts):
    assert [cut.count(batch) for cut in cuts_of(batch)] == counts


def test_a_cut_does_not_apply_to_a_batch_of_other_parts():
    cut = Cut((0, 0))
    assert cut.count((torch.zeros(3), torch.zeros(4))) is None
    assert cut.count(torch.zeros(3)) is None
    with pytest.raises(RuntimeError, match="not made of the same parts"):
        cut.join([(torch.zeros(3), torch.zeros(3)), torch.zeros(3)])


def test_a_range_gives_views_and_a_list_copies():
    batch = torch.zeros(6, 2)
    cut = cuts_of(batch)[0]
    assert cut.take(batch, range(2, 4)).data_ptr() == batch[2:].data_ptr()
    assert cut.take(batch, [2, 3]).data_ptr() != batch[2:].data_ptr()


def test_digests_see_shapes_words_and_dtypes():
    batches = [
        (torch.zeros(4), "a"),
        (torch.zeros(4), "b"),
        (torch.zeros(2, 2), "a"),
        (torch.zeros(4, dtype=torch.int32), "a"),
        (torch.zeros(4), 1),
        Plain(torch.zeros(4), "c"),
        Plain(torch.ones(4), "c"),
    ]
    assert len({digest(batch) for batch in batches}) == len(batches)
    assert digest(Plain(torch.ones(4))) == digest(Plain(torch.ones(4)))


def test_graphs_of_torch_geometric_are_copied_and_divided():
    data = pytest.importorskip("torch_geometric.data")
    graphs = [
        data.Data(x=torch.full((n, 2), float(n)), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([n]))
        for n in (2, 3, 4)
    ]
    batch = data.Batch.from_data_list(graphs)
    twice = mapped(batch, lambda t: 2 * t if t.is_floating_point() else t.clone())
    assert type(twice) is type(batch)
    assert torch.equal(twice.x, 2 * batch.x)
    assert twice.num_graphs == 3
    assert torch.equal(twice.to_data_list()[1].x, 2 * graphs[1].x)
    cut = cuts_of(batch)[0]
    assert cut.count(batch) == 3
    assert cut.take(batch, [2, 0]).y.tolist() == [4, 2]
    assert cut.join([batch, batch]).num_graphs == 6


def test_what_cannot_be_copied_is_named_and_a_tuple_works():
    class Stubborn:
        def __init__(self):
            self.x = torch.ones(2)

        def __reduce_ex__(self, protocol):
            raise ValueError("never")

    with pytest.raises(TypeError, match=r"batches that can be copied, got Stubborn: ValueError: never. Pass .* tuples"):
        mapped(Stubborn(), torch.clone)
    assert torch.equal(mapped((Stubborn().x,), torch.clone)[0], torch.ones(2))
