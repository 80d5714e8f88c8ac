"""Ready-made weights against counting by hand."""

from types import SimpleNamespace

import pytest
import torch

import lwidgets as lw

LABELS = torch.tensor([[1, 0, -100, -100], [2, -100, -100, -100], [2, 1, 1, 0]])
CLASSES = torch.tensor([1.0, 2.0, 5.0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 7),
        ({"ignore_index": 0}, 10),
        ({"shifted": True}, 4),
        ({"classes": CLASSES}, 2 * 1 + 3 * 2 + 2 * 5),
        ({"target": lambda batch: LABELS[:1]}, 2),
    ],
)
def test_tokens_are_counted_as_by_hand(options, expected):
    batches = [(torch.zeros(3), LABELS), {"labels": LABELS}, SimpleNamespace(labels=LABELS), SimpleNamespace(y=LABELS)]
    assert {lw.weights.tokens(**options)(batch) for batch in batches} == {float(expected)}


@pytest.mark.parametrize("place", ["classes", 1])
def test_the_target_may_be_anywhere_when_told(place):
    batch = {"classes": LABELS} if place == "classes" else (1, LABELS, 2)
    assert lw.weights.tokens(target=place)(batch) == 7


def test_what_is_no_target_is_named_and_saying_where_works():
    batch = {"tokens": LABELS, "more": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"tensor of class indices, got NoneType in a dict. .* target='labels'"):
        lw.weights.tokens()(batch)
    with pytest.raises(ValueError, match=r"got torch.float32 of shape \(3,\)"):
        lw.weights.tokens(target="more")(batch)
    assert lw.weights.tokens(target="tokens")(batch) == 7
