"""The task of the `prcc` job: reconstruct unlabelled tiles."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hemacell.config.jobs import PrccSettings
from hemacell.core.random import generator_of
from hemacell.data.decoding import Decoded
from hemacell.encoders.autoencoder import reconstruct, reconstruction_loss
from hemacell.evaluation.image_metrics import image_metrics
from hemacell.training.batches import BatchOrder
from hemacell.training.loop import Row


def resize_tiles(pixels: np.ndarray, size: int) -> Tensor:
    """Whole tiles at another size: uint8 [N, H, W, 3] -> float32 [N, 3, size, size] in [0, 1], antialiased."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255.0)
    if images.shape[-2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False).clamp_(0, 1)
    return images.contiguous(memory_format=torch.channels_last)


def to_pixels(images: Tensor) -> np.ndarray:
    """The way back: float [N, 3, H, W] in [0, 1] -> uint8 [N, H, W, 3]."""
    return (images.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()


@dataclass(eq=False)
class TileTask:
    """SSIM + L1 on random cuts of the tiles, each batch at a scale of its own; validation on whole tiles."""

    monitor = "val/ssim"

    pixels: np.ndarray
    """uint8 [M, H, W, 3], tiles at least as large as `size`"""
    rows: np.ndarray
    """int64, the training tiles"""
    val_rows: np.ndarray
    size: int = field(kw_only=True)
    """side in pixels at which the network sees a cut: at least so much of a tile is cut out, at most all"""
    batch_size: int = field(kw_only=True)
    seed: int = field(kw_only=True)
    l1_loss_weight: float = 0.5
    """see `reconstruction_loss`"""
    device: torch.device | str = "cpu"
    show: Callable[[Tensor, Tensor], None] | None = None
    """called at each report with val originals and reconstructions, float [n, 3, size, size]"""

    def __post_init__(self) -> None:
        self.order = BatchOrder(len(self.rows), self.batch_size, self.seed)
        self.val_images = resize_tiles(self.pixels[self.val_rows], self.size)

    def loss(self, network: nn.Module, step: int) -> Tensor:
        generator = generator_of(self.seed, "cuts", step)
        chosen = self.rows[self.order(step).numpy()]
        whole = self.pixels.shape[1]
        side = int(torch.randint(min(self.size, whole), whole + 1, (1,), generator=generator))
        corners = torch.randint(whole - side + 1, (len(chosen), 2), generator=generator).tolist()
        cuts = [self.pixels[row, y : y + side, x : x + side] for row, (y, x) in zip(chosen, corners, strict=True)]
        images = resize_tiles(np.stack(cuts), self.size)
        # whole flips and quarter turns move pixels without interpolation, which would blur what is to be restored
        if int(torch.randint(2, (1,), generator=generator)):
            images = images.flip(-1)
        images = images.rot90(int(torch.randint(4, (1,), generator=generator)), (-2, -1)).to(self.device)
        return reconstruction_loss(network(images), images, self.l1_loss_weight)

    def validate(self, network: nn.Module) -> Row:
        restored = reconstruct(network, self.val_images)
        if self.show is not None:
            self.show(self.val_images[:6], restored[:6])
        metrics = image_metrics(self.val_images, restored)
        loss = float(reconstruction_loss(restored, self.val_images, self.l1_loss_weight))
        return {"val/loss": loss, "val/ssim": metrics["ssim"], "val/psnr": metrics["psnr"]}


def tile_task(
    tiles: Decoded, settings: PrccSettings, device: torch.device, show: Callable[[Tensor, Tensor], None]
) -> TileTask:
    """The task that these settings mean, on decoded tiles of all splits; `show` as in `TileTask`."""
    rows = tiles.rows_of_splits()
    return TileTask(
        tiles.array,
        rows["train"],
        rows["val"],
        size=settings.tile_size,
        batch_size=settings.batch_size,
        seed=settings.seed,
        l1_loss_weight=settings.l1_loss_weight,
        device=device,
        show=show,
    )
