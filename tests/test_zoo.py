"""A foreign model: a BatchNorm residual network from the zoo package pytorchcv, untrained, against a plain loop."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from tests.models import at, everything_about, named, same

resnet = pytest.importorskip("pytorchcv.models.resnet_cifar")


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        channels = [[4, 4], [8, 8], [16, 16]]
        model = resnet.CIFARResNet(channels, init_block_channels=4, bottleneck=False, in_size=(8, 8), num_classes=5)
        model.output = nn.Linear(16, 5)
        model.features.final_pool = nn.AdaptiveAvgPool2d(1)
        model.train()
        for _ in range(3):  # running statistics that are not their defaults
            model(torch.randn(16, 3, 8, 8))
    return model.double().eval()


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(20, 3, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.randint(5, (20,), generator=generator)


def test_a_plane_over_a_zoo_network_is_a_plain_loop(model, data):
    images, labels = data
    before = everything_about(model)
    objective = lw.Objective(model, (images, labels), loss=F.cross_entropy, metrics={"error": lw.metrics.error})
    plane = lw.Plane.random(model, (0, 1))
    landscape = lw.sample(objective, plane, resolution=(5, 3), tolerance=0)
    first, second = plane.basis.vectors[1:]
    for i, x in enumerate(landscape.coords[0]):
        for j, y in enumerate(landscape.coords[1]):
            here = at(model, [(1, named(model)), (x, first), (y, second)])
            with torch.no_grad():
                scores = here(images)
            assert landscape.values["loss"][i, j] == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-10)
            assert landscape.values["error"][i, j] == pytest.approx((scores.argmax(1) != labels).double().mean().item())
    assert same(before, everything_about(model))
    assert landscape.provenance["batchnorm"] == "frozen"


def test_every_convolution_filter_of_a_zoo_network_gets_its_own_norm(model):
    vectors = lw.Plane.random(model).basis.vectors[1]
    checked = 0
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            ours, theirs = vectors[f"{name}.weight"].flatten(1).norm(dim=1), part.weight.detach().flatten(1).norm(dim=1)
            np.testing.assert_allclose(ours, theirs, rtol=1e-10)
            checked += 1
        elif isinstance(part, nn.BatchNorm2d):
            assert f"{name}.weight" not in vectors
    assert checked > 6
