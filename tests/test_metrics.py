"""Error and accuracy against a loop over samples."""

import pytest
import torch

import lwidgets as lw


def test_error_is_the_share_of_wrong_labels_counted_by_hand():
    scores, labels = torch.randn(37, 5), torch.randint(5, (37,))
    wrong = sum(max(range(5), key=lambda c: scores[i, c].item()) != labels[i].item() for i in range(37))
    assert lw.metrics.error(scores, labels).item() == wrong / 37
    assert lw.metrics.accuracy(scores, labels).item() == pytest.approx(1 - wrong / 37, abs=1e-15)


def test_error_counts_every_position_of_dense_labels():
    scores, labels = torch.randn(4, 3, 5), torch.randint(3, (4, 5))
    wrong = sum(scores[i, :, t].argmax().item() != labels[i, t].item() for i in range(4) for t in range(5))
    assert lw.metrics.error(scores, labels).item() == wrong / 20


def test_error_of_binary_logits_is_their_sign():
    logits, labels = torch.tensor([-1.0, 2.0, 0.5, -3.0]), torch.tensor([0.0, 1.0, 0.0, 1.0])
    assert lw.metrics.error(logits, labels).item() == 0.5


def test_metrics_are_float64_so_that_their_mean_is():
    assert lw.metrics.error(torch.randn(3, 2), torch.tensor([0, 1, 0])).dtype == torch.float64
