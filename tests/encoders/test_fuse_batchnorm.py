"""BatchNorm in the convolutions: the same embeddings."""

import pytest
import torch
from torch import nn

from hemacell.encoders.frozen import EncoderConfig, FrozenEncoder, create_encoder, encoder_digest
from hemacell.encoders.fuse_batchnorm import fuse_batchnorm

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lively(encoder):
    """BatchNorms that do something."""
    generator = torch.Generator().manual_seed(1)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    return encoder


def batchnorms(encoder):
    return sum(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())


@pytest.mark.parametrize(("arch", "left"), [("test_efficientnet", 0), ("tf_efficientnet_lite0", 0), ("test_resnet", 1)])
def test_embeddings_are_the_same_with_fewer_batchnorms(arch, left):
    encoder = lively(create_encoder(EncoderConfig(kind="backbone", body={"arch": arch}, input_size=32)))
    before, digest = encoder.embed(IMAGES), encoder_digest(encoder)
    quick = fuse_batchnorm(encoder)
    assert batchnorms(quick) == left < batchnorms(encoder)
    assert quick.embed(IMAGES) == pytest.approx(before, rel=1e-3, abs=1e-4)
    assert encoder_digest(encoder) == digest and torch.equal(encoder.embed(IMAGES), before)
    assert quick.config == encoder.config and quick.width == encoder.width


def test_an_encoder_without_batchnorm_is_the_same():
    config = EncoderConfig(kind="autoencoder", body={"widths": [8, 16], "latent_channels": 3}, input_size=32)
    encoder = create_encoder(config)
    assert torch.equal(fuse_batchnorm(encoder).embed(IMAGES), encoder.embed(IMAGES))


class Shuffled(nn.Module):
    """Layers that are written in another order than they are called in."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.other = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)

    def stages(self, images):
        return [self.norm(self.other(self.one(images)))]


def test_layers_in_another_order_are_left_alone():
    config = EncoderConfig(kind="autoencoder", body={}, input_size=32)
    encoder = lively(FrozenEncoder(config, Shuffled()))
    assert fuse_batchnorm(encoder) is encoder and batchnorms(encoder) == 1
