"""Frozen encoders: frozen whatever happens around them, and the same after a way through a folder."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hemacell.core.errors import UserError
from hemacell.encoders.camelyon import camelyon
from hemacell.encoders.frozen import (
    DESCRIPTION,
    WEIGHTS,
    EncoderConfig,
    create_encoder,
    encoder_digest,
    load_encoder,
    save_encoder,
)
from hemacell.encoders.timm_backbone import create_backbone

AUTOENCODER = EncoderConfig(kind="autoencoder", body={"widths": [8, 16], "latent_channels": 4}, input_size=16)
BACKBONE = EncoderConfig(kind="backbone", body={"arch": "test_efficientnet"}, input_size=32, crop=0.7)
CONFIGS = pytest.mark.parametrize("config", [AUTOENCODER, BACKBONE], ids=["autoencoder", "backbone"])


def images(count=3, side=16, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


class Parent(nn.Module):
    """A network that is trained and holds an encoder."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.width, 2)

    def forward(self, pictures):
        return self.head(self.encoder(pictures))


@CONFIGS
def test_it_stays_frozen_in_a_parent_that_trains(config):
    encoder = create_encoder(config, seed=1)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    expected = encoder(images())
    parent = Parent(encoder).train()
    optimizer = torch.optim.SGD(parent.parameters(), lr=1.0, weight_decay=0.1)
    for step in range(3):
        optimizer.zero_grad()
        parent(images(seed=step) * 5).square().sum().backward()
        optimizer.step()
    assert parent.training and parent.head.weight.grad is not None
    assert not any(module.training for module in encoder.modules())
    assert all(not weight.requires_grad and weight.grad is None for weight in encoder.parameters())
    assert before.keys() == encoder.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
    assert torch.equal(encoder(images()), expected)


def test_the_backbone_has_statistics_that_training_would_change():
    """Without this the test above would prove nothing about BatchNorm."""
    network = create_encoder(BACKBONE).body.network
    before = [buffer.clone() for buffer in network.buffers()]
    network.train()(images())
    assert any(not torch.equal(old, new) for old, new in zip(before, network.buffers(), strict=True))


@CONFIGS
def test_no_gradient_reaches_what_is_before_it(config):
    pictures = images().requires_grad_()
    assert not create_encoder(config)(pictures).requires_grad


@CONFIGS
def test_embeddings_are_means_and_deviations_of_every_stage(config):
    encoder = create_encoder(config, seed=2)
    pictures = images(side=config.input_size)
    expected = []
    with torch.no_grad():
        for features in encoder.body.stages(pictures):
            places = features.double().numpy().reshape(*features.shape[:2], -1)
            expected += [places.mean(2), np.sqrt(places.var(2) + 1e-6)]
    expected = np.concatenate(expected, 1)
    assert encoder.width == expected.shape[1]
    assert encoder(pictures).numpy() == pytest.approx(expected, abs=1e-5)


def test_a_backbone_is_shown_normalised_images():
    encoder = create_encoder(BACKBONE)
    pictures, pretrained = images(side=32), encoder.body.network.pretrained_cfg
    mean, std = (torch.tensor(pretrained[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = encoder.body.network.forward_intermediates((pictures - mean) / std, intermediates_only=True)
        assert all(torch.equal(*pair) for pair in zip(encoder.body.stages(pictures), expected, strict=True))


def test_images_of_any_size_are_brought_to_its_own():
    encoder = create_encoder(AUTOENCODER)
    pictures = images(side=37)
    resize_tiles = F.interpolate(pictures, (16, 16), mode="bilinear", antialias=True)
    assert torch.equal(encoder(pictures), encoder(resize_tiles))


def test_bfloat16_is_near_and_comes_back_as_float32():
    encoder = create_encoder(AUTOENCODER)
    exact, quick = encoder.embed(images()), encoder.embed(images(), "bf16")
    assert quick.dtype == torch.float32 and not torch.equal(exact, quick)
    assert torch.equal(exact, encoder(images()))
    assert torch.allclose(exact, quick, atol=0.05)


@CONFIGS
def test_a_way_through_a_folder_changes_nothing(config, tmp_path):
    encoder = create_encoder(config, seed=3)
    back = load_encoder(save_encoder(tmp_path / "a" / "b", config, encoder.weights()))
    assert back.config == config and back.width == encoder.width
    assert torch.equal(back(images()), encoder(images()))
    assert encoder_digest(back) == encoder_digest(encoder)
    assert {file.name for file in (tmp_path / "a" / "b").iterdir()} == {WEIGHTS, DESCRIPTION}


def test_digests_tell_weights_sizes_and_fields_apart():
    encoder = create_encoder(AUTOENCODER)
    others = [create_encoder(AUTOENCODER, seed=1), encoder.with_crop(32, 1.0), encoder.with_crop(16, 0.5)]
    digests = {encoder_digest(each) for each in [encoder, *others]}
    assert len(digests) == 4
    assert encoder_digest(create_encoder(AUTOENCODER)) in digests
    with torch.no_grad():
        next(encoder.body.parameters()).mul_(1.0001)
    assert encoder_digest(encoder) not in digests


def test_another_crop_keeps_the_weights():
    encoder = create_encoder(AUTOENCODER)
    other = encoder.with_crop(32, 0.5)
    assert (other.config.input_size, other.config.crop) == (32, 0.5)
    assert (encoder.config.input_size, encoder.config.crop) == (16, 1.0)
    assert other.body is encoder.body and other.width == encoder.width
    assert not torch.equal(other(images(side=32)), encoder(images(side=32)))


def test_random_weights_follow_from_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = create_encoder(AUTOENCODER, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(first(images()), create_encoder(AUTOENCODER, seed=1)(images()))
    assert not torch.equal(first(images()), create_encoder(AUTOENCODER, seed=2)(images()))


def test_the_imagenet_encoder_has_the_weights_of_imagenet():
    encoder = create_encoder(camelyon("camelyon").config, "imagenet")
    expected = create_backbone("tf_efficientnet_lite0").state_dict()
    assert encoder.weights().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.weights().items())


def test_there_are_no_imagenet_weights_for_an_autoencoder():
    with pytest.raises(UserError, match="an autoencoder has random weights"):
        create_encoder(AUTOENCODER, "imagenet")


def description(**changes):
    return json.dumps(AUTOENCODER.model_dump() | changes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / DESCRIPTION).unlink(),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000]),
        lambda folder: (folder / WEIGHTS).write_bytes(b""),
        lambda folder: (folder / DESCRIPTION).write_text("not json"),
        lambda folder: (folder / DESCRIPTION).write_text("[]"),
        lambda folder: (folder / DESCRIPTION).write_text("{}"),
        lambda folder: (folder / DESCRIPTION).write_text(description(colour="blue", shape="round")),
        lambda folder: (folder / DESCRIPTION).write_text(description(kind="transformer")),
        lambda folder: (folder / DESCRIPTION).write_text(description(body={"widths": [8, 16], "latent_channels": 5})),
        lambda folder: (folder / DESCRIPTION).write_text(description(body={"depth": 5})),
        lambda folder: (folder / DESCRIPTION).write_text(description(kind="backbone", body={"arch": "test_nothing"})),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused_in_one_line(spoil, tmp_path):
    save_encoder(tmp_path, AUTOENCODER, create_encoder(AUTOENCODER).weights())
    spoil(tmp_path)
    with pytest.raises(UserError) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: expected an encoder \(encoder.json and encoder.safetensors\)"):
        load_encoder(tmp_path / "nowhere")
