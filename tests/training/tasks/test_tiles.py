"""The task of the tiles."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from hemacell.encoders.autoencoder import Autoencoder, reconstruction_loss
from hemacell.training.tasks.tiles import TileTask, resize_tiles

RNG = np.random.default_rng(0)
#: Every pixel of every tile differs from all others, so that a cut tells where it is from.
PIXELS = RNG.integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
ROWS, VAL_ROWS = np.array([0, 2, 3]), np.array([1])


def task(size=16, **changes):
    return TileTask(PIXELS, ROWS, VAL_ROWS, size=size, **({"batch_size": 3, "seed": 0} | changes))


class Notes(nn.Module):
    """Gives back what it sees, a little darker, and keeps it."""

    def __init__(self, factor=0.9):
        super().__init__()
        self.factor, self.seen = factor, []

    def forward(self, images):
        self.seen.append(images)
        return images * self.factor


def test_half_the_size_is_antialiased():
    found = resize_tiles(PIXELS, 12)
    expected = F.interpolate(
        torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255, (12, 12), mode="bilinear", antialias=True
    )
    assert torch.allclose(found, expected, atol=1e-6) and found.is_contiguous(memory_format=torch.channels_last)
    spread = PIXELS.reshape(4, -1).std(1).mean() / 255
    assert float(found.flatten(1).std(1).mean()) < 0.7 * spread  # one pixel in two would keep the noise


def test_the_same_size_is_the_same_pixels():
    found = resize_tiles(PIXELS, 24)
    assert np.array_equal((found * 255).round().byte().permute(0, 2, 3, 1).numpy(), PIXELS)
    assert found.min() >= 0 and found.max() <= 1


def turns(image):
    """The eight flips and quarter turns of [3, H, W]."""
    return [flipped.rot90(k, (-2, -1)) for flipped in (image, image.flip(-1)) for k in range(4)]


def test_cuts_in_full_resolution_are_turned_pieces_of_the_chosen_tiles():
    notes, made = Notes(), task(size=24)  # the tiles' own size: a cut is the whole tile
    seen = set()
    for step in range(20):
        made.loss(notes, step)
        chosen = ROWS[made.order(step).numpy()]
        assert sorted(chosen.tolist()) == ROWS.tolist()
        for image, row in zip(notes.seen[-1], chosen, strict=True):
            (kind,) = [
                k for k, each in enumerate(turns(resize_tiles(PIXELS[row][None], 24)[0])) if torch.equal(image, each)
            ]
            seen.add(kind)
    assert len(seen) >= 6


def test_cuts_are_of_every_scale_between_the_networks_and_the_tiles():
    notes, made = Notes(), task()
    sides = set()
    for step in range(25):
        made.loss(notes, step)
        row = ROWS[int(made.order(step)[0])]
        image = notes.seen[-1][0]
        assert image.shape == (3, 16, 16)
        for side in range(16, 25):
            pieces = [PIXELS[row, y : y + side, x : x + side] for y in range(25 - side) for x in range(25 - side)]
            if any(torch.equal(turn, image) for piece in resize_tiles(np.stack(pieces), 16) for turn in turns(piece)):
                sides.add(side)
                break
        else:
            pytest.fail("a cut that is no piece of its tile")
    assert len(sides) > 5


def test_the_loss_is_that_of_the_reconstruction():
    notes = Notes()
    found = task(l1_loss_weight=0.7).loss(notes, 3)
    images = notes.seen[0]
    assert torch.equal(found, reconstruction_loss(images * 0.9, images, 0.7))
    assert torch.equal(task(l1_loss_weight=0.7).loss(Notes(), 3), found)
    assert not torch.equal(task(l1_loss_weight=0.7).loss(Notes(), 4), found)
    assert not torch.equal(task(l1_loss_weight=0.7, seed=1).loss(Notes(), 3), found)


def test_validation_is_on_whole_tiles():
    shown = []
    found = task(show=lambda *pair: shown.append(pair)).validate(Notes(0.8))
    originals = resize_tiles(PIXELS[VAL_ROWS], 16)
    restored = originals * 0.8
    assert found.keys() == {"val/loss", "val/ssim", "val/psnr"} and TileTask.monitor in found
    ssim = structural_similarity_index_measure(restored, originals, data_range=1.0)
    assert found["val/ssim"] == pytest.approx(float(ssim), abs=1e-4)
    psnr = peak_signal_noise_ratio(restored, originals, data_range=1.0)
    assert found["val/psnr"] == pytest.approx(float(psnr), rel=1e-4)
    assert found["val/loss"] == pytest.approx(
        1 - float(ssim) + 0.5 * float((restored - originals).abs().mean()), abs=1e-4
    )
    ((first, second),) = shown
    assert torch.equal(first, originals) and torch.allclose(second, restored)


def test_an_autoencoder_takes_what_the_task_gives():
    torch.manual_seed(0)
    network = Autoencoder((8, 8), 2)
    task().loss(network, 0).backward()
    assert all(weight.grad is not None for weight in network.parameters())
