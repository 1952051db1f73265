"""The moving average of a network, against a loop over its numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from hemacell.training.ema import EmaNetwork


def made():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(2))


def images(seed):
    return torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def test_weights_and_buffers_are_those_of_a_slow_loop():
    network = made()
    network(images(0))
    averaged = EmaNetwork(network, decay=0.8)
    expected = {name: tensor.double().numpy().copy() for name, tensor in network.state_dict().items()}
    for step in range(25):
        network(images(step))  # moves BatchNorm's statistics
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)))
        averaged.update(network, step)
        decay = min(0.8, (step + 1) / (step + 10))
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                expected[name] = tensor.numpy().copy()
            else:
                expected[name] = decay * expected[name] + (1 - decay) * tensor.double().numpy()
    found = averaged.network.state_dict()
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= found.keys()
    for name, tensor in found.items():
        assert tensor.numpy() == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name
    assert int(found["1.num_batches_tracked"]) == 26
    assert not np.allclose(found["1.running_mean"], network.state_dict()["1.running_mean"], atol=1e-4)


def test_it_is_a_copy_for_use_and_not_for_training():
    network = made()
    network(images(0))
    before = network.state_dict()["0.weight"].clone()
    averaged = EmaNetwork(network.train(), decay=0.9)
    averaged.network.state_dict()["0.weight"].zero_()
    assert torch.equal(network.state_dict()["0.weight"], before)
    assert network.training and all(weight.requires_grad for weight in network.parameters())
    assert not any(module.training for module in averaged.network.modules())
    assert not any(weight.requires_grad for weight in averaged.network.parameters())


def test_the_first_weights_are_soon_forgotten():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 100.0)
    averaged = EmaNetwork(network, decay=0.999)
    nn.init.constant_(network.weight, 1.0)
    for step in range(30):
        averaged.update(network, step)
    assert float(averaged.network.weight) == pytest.approx(1.0, abs=1e-3)
