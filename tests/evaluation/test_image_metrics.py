"""Similarity of images against slow references."""

import math

import numpy as np
import pytest
import torch

from hemacell.evaluation.image_metrics import image_metrics, ssim_per_image


def slow_ssim(a, b):
    """Wang et al. 2004 for one channel: a window around every pixel in turn, the image mirrored at its edges."""
    a, b = np.pad(a, 5, mode="reflect"), np.pad(b, 5, mode="reflect")
    offsets = np.arange(11) - 5
    weight = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = a[top : top + 11, left : left + 11], b[top : top + 11, left : left + 11]
            mx, my = (weight * x).sum(), (weight * y).sum()
            vx, vy = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum()
            cov = (weight * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(values)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    original = torch.rand(3, 3, 20, 24, generator=generator)
    noise = 0.2 * torch.randn(3, 3, 20, 24, generator=generator)
    return original, (original + noise).clamp(0, 1)


def test_ssim_equals_the_definition(pairs):
    original, reconstruction = pairs
    expected = [
        np.mean([slow_ssim(x.double().numpy(), y.double().numpy()) for x, y in zip(a, b, strict=True)])
        for a, b in zip(original, reconstruction, strict=True)
    ]
    assert ssim_per_image(original, reconstruction) == pytest.approx(expected, abs=1e-5)
    assert image_metrics(original, reconstruction)["ssim"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_psnr_equals_the_definition(pairs):
    original, reconstruction = pairs
    squared = ((original.double() - reconstruction.double()) ** 2).mean().item()
    assert image_metrics(original, reconstruction)["psnr"] == pytest.approx(10 * math.log10(1 / squared), abs=1e-4)


def test_a_grey_picture_is_not_nearly_perfect(pairs):
    original, _ = pairs
    grey = torch.full_like(original, 0.5)
    assert image_metrics(original, grey)["ssim"] < 0.1  # with a data range of 255 it would be 0.99


def test_many_images_are_scored_as_one_by_one():
    original = torch.rand(70, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    reconstruction = original.flip(-1)
    one_by_one = [ssim_per_image(original[i : i + 1], reconstruction[i : i + 1])[0] for i in range(70)]
    assert ssim_per_image(original, reconstruction) == pytest.approx(one_by_one, abs=1e-6)


def test_equal_images_have_no_psnr(pairs):
    original, _ = pairs
    assert image_metrics(original, original.clone()) == {"ssim": pytest.approx(1.0)}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: x * 255,
        lambda x: x - 0.5,
        lambda x: torch.full_like(x, torch.nan),
        lambda x: x[:2],
        lambda x: x[0],
    ],
)
def test_what_is_no_reconstruction_in_zero_to_one_is_refused(pairs, spoil):
    original, reconstruction = pairs
    with pytest.raises(ValueError, match=r"expected|must be"):
        image_metrics(original, spoil(reconstruction))
