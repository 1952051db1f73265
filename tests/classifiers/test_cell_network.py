"""The cell network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hemacell.classifiers.cell_network import CellNetwork, ResidualBlock


def images(count=3, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CellNetwork((8, 16, 16, 24), (1, 2, 1, 1))


def test_features_are_mean_and_maximum_over_the_places(network):
    seen = {}
    network.norm.register_forward_hook(lambda module, given, result: seen.update(last=result))
    features = network(images())
    places = F.relu(seen["last"]).flatten(2)
    assert network.width == 48 and places.shape[2] == 2 * 2  # the stem and three stages halve 32 px
    assert torch.allclose(features, torch.cat([places.mean(2), places.max(2).values], 1))


@pytest.mark.parametrize("side", [32, 64, 97])
def test_any_size(network, side):
    assert network(images(side=side)).shape == (3, 48)


def test_a_cell_does_not_depend_on_its_company_even_in_training(network):
    together = network.train()(images())
    alone = torch.cat([network(images()[number : number + 1]) for number in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    assert not list(network.buffers())


def test_the_memory_layout_changes_no_answer(network):
    expected = network(images())
    network.to(memory_format=torch.channels_last)
    found = network(images().contiguous(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (8, 16, 1), (8, 8, 2), (8, 16, 2)])
def test_a_block_whose_convolutions_are_nothing_is_its_shortcut(inputs, outputs, stride):
    block = ResidualBlock(inputs, outputs, stride)
    nn.init.zeros_(block.conv2.weight)
    features = torch.randn(2, inputs, 8, 8, generator=torch.Generator().manual_seed(0))
    activated = F.relu(block.norm1(features))
    if stride > 1:
        activated = F.avg_pool2d(activated, stride)
    if inputs != outputs or stride > 1:
        activated = F.conv2d(activated, block.shortcut[1].weight)
    assert block(features).shape == (2, outputs, 8 // stride, 8 // stride)
    assert torch.allclose(block(features), activated)


def test_stages_and_blocks_must_match():
    with pytest.raises(ValueError):
        CellNetwork((8, 16), (1, 1, 1))


def test_gradients_reach_every_weight(network):
    network(images()).square().sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in network.parameters())
