"""The encoder that measures: numbers of nucleus and cell (`hemacell.data.morphology`) as an embedding."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from hemacell.core.errors import UserError
from hemacell.data.morphology import MEASUREMENTS, VERSION, WHITE, measure_morphology
from hemacell.data.nucleus import glass_colour
from hemacell.encoders.architectures import RANDOM

GLASS = ("picture", "white")

_OFFSET = 0.03  # of an optical density: what is less is noise
_SKEWED = np.array(
    [
        each.unit == "OD" or (name.endswith(("_ratio", "_texture", "_grain")) and name != "nc_ratio")
        for name, each in MEASUREMENTS.items()
    ]
)


class MeasuredCell(nn.Module):
    """`MEASUREMENTS` of each image; the same for all turns and flips of it, and on every device computed on the CPU.

    Densities, and ratios and textures that are made of them, come as log(value + 0.03): another stain multiplies them,
    so that in the logarithm laboratories differ by a shift, which their own means undo.

    Args:
        glass: `white` measures over white glass, by which framed pictures are divided; `picture` over the glass colour
            of each image.
    """

    invariant = True
    place: Tensor

    def __init__(self, glass: str = "white") -> None:
        super().__init__()
        self.glass = glass
        self.register_buffer("place", torch.zeros(0), persistent=False)  # tells the device

    def embedding(self, images: Tensor) -> Tensor:
        """Float32 [N, len(MEASUREMENTS)] of images float [N, 3, S, S] in [0, 1]."""
        pixels = (images.detach().float() * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
        pictures = pixels.cpu().numpy()
        threads = min(torch.get_num_threads(), len(pictures))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                rows = list(pool.map(self._measured, pictures))
        else:
            rows = [self._measured(picture) for picture in pictures]
        found = np.stack(rows) if rows else np.zeros((0, len(MEASUREMENTS)), np.float32)
        return torch.from_numpy(embedded(found)).to(images.device)

    def _measured(self, picture: np.ndarray) -> np.ndarray:
        return measure_morphology(picture, WHITE if self.glass == "white" else glass_colour(picture))


def embedded(measurements: np.ndarray) -> np.ndarray:
    """Measurements float32 [N, len(MEASUREMENTS)] as the encoder gives them."""
    return np.where(_SKEWED, np.log(np.maximum(measurements, 0) + _OFFSET), measurements).astype(np.float32)


def build(version: int, glass: str = "white", weights: str = RANDOM) -> MeasuredCell:
    """The encoder of a description.

    Args:
        version: of the measurements that a classifier learnt from.
        glass: see `MeasuredCell`.
        weights: there are none.

    Raises:
        UserError: the measurements have changed since, or the glass is unknown.
    """
    if version != VERSION:
        raise UserError(
            f"encoder morphology: made with version {version} of the measurements, found version {VERSION} here; "
            "train the classifier again"
        )
    if glass not in GLASS:
        raise UserError(f"encoder morphology: expected glass={' or '.join(GLASS)}, found {glass}")
    return MeasuredCell(glass)
