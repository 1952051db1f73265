"""The autoencoder's shapes, and its loss against SSIM written out."""

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from hemacell.encoders.autoencoder import Autoencoder, reconstruct, reconstruction_loss

TINY = {"widths": (8, 16), "latent_channels": 3}


def images(count=2, side=24, seed=0):
    """Smooth pictures with a little noise, in [0, 1]."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.linspace(0, 6, side)[None, None, :, None] + rng.uniform(0, 6, (count, 3, 1, side))) * 0.35 + 0.5
    return torch.from_numpy(np.clip(waves + rng.normal(0, 0.05, waves.shape), 0, 1)).float()


def slow_ssim(a, b):
    """Wang et al. 2004: an 11 x 11 Gaussian window of sigma 1.5, borders mirrored; data range 1."""
    axis = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis) / axis.sum() ** 2

    def smooth(channel):
        return fftconvolve(np.pad(channel, 5, mode="reflect"), window, mode="valid")

    values = []
    for x, y in zip(a.double().flatten(0, 1).numpy(), b.double().flatten(0, 1).numpy(), strict=True):
        mx, my = smooth(x), smooth(y)
        vx, vy, both = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
        c1, c2 = 0.01**2, 0.03**2
        values.append((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("other", ["noise", "blur", "grey"])
@pytest.mark.parametrize("l1_loss_weight", [0.0, 0.5, 2.0])
def test_the_loss_is_ssim_and_l1(other, l1_loss_weight):
    original = images()
    changed = {
        "noise": (original + 0.1 * torch.randn(original.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1),
        "blur": torch.nn.functional.avg_pool2d(original, 5, 1, 2),
        "grey": torch.full_like(original, 0.5),
    }[other]
    expected = 1 - slow_ssim(changed, original) + l1_loss_weight * float((changed - original).abs().mean())
    assert float(reconstruction_loss(changed, original, l1_loss_weight)) == pytest.approx(expected, abs=2e-4)


def test_equal_images_lose_nothing():
    assert float(reconstruction_loss(images(), images())) == pytest.approx(0, abs=1e-5)


def test_a_grey_picture_is_far_from_perfect():
    """With the data range of 255 that whole numbers have, it would seem nearly perfect."""
    assert float(reconstruction_loss(torch.full_like(images(), 0.5), images(), l1_loss_weight=0.0)) > 0.5


def test_the_loss_is_computed_in_float32():
    original = images()
    rounded = original.bfloat16()
    loss = reconstruction_loss(rounded, original)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, reconstruction_loss(rounded.float(), original))


def test_the_default_code_is_a_twenty_first_of_the_input():
    network = Autoencoder()
    with torch.no_grad():
        code = network.encode(torch.zeros(1, 3, 128, 128))
    assert code.shape == (1, 36, 8, 8)
    assert code.numel() * 20 <= 3 * 128 * 128


def test_shapes():
    network = Autoencoder(**TINY)
    assert network(images(side=24)).shape == (2, 3, 24, 24)
    assert [tuple(each.shape[1:]) for each in network.stages(images(side=24))] == [(8, 12, 12), (16, 6, 6), (3, 6, 6)]
    assert torch.equal(network(images()), network.decode(network.encode(images())))


def test_gradients_reach_every_weight():
    network = Autoencoder(**TINY)
    reconstruction_loss(network(images()), images()).backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in network.parameters())


def test_a_few_steps_learn():
    torch.manual_seed(0)
    network = Autoencoder(**TINY)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = reconstruction_loss(network(images()), images())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_reconstructions_are_pictures_whatever_the_batch():
    network = Autoencoder(**TINY)
    pictures = images(count=5) * 4 - 1.5  # so far out that something must be clamped
    whole, parts = reconstruct(network, pictures), reconstruct(network, pictures, batch=2)
    assert torch.allclose(whole, parts, atol=1e-6) and not whole.requires_grad
    assert float(whole.min()) >= 0 and float(whole.max()) <= 1
    assert torch.allclose(whole, network(pictures).detach().clamp(0, 1), atol=1e-6)
