"""Where a classifier looks: Grad-CAM of the network that sees the pixels, as a map over the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hemacell.classifiers.model import CellClassifier, ClassifierModel
from hemacell.core.errors import UserError
from hemacell.data.augmentation import Augmentations, apply_augmentation, dihedral_augmentation


@dataclass(frozen=True, eq=False)
class GradCAM:
    """Where the network finds what speaks for a class: Grad-CAM (Selvaraju et al. 2017), by captum.

    What is explained is the mean of the logits of all heads as far as it comes from the branch that sees the pixels,
    given the embeddings of the frozen encoders: what these see is not explained. The heads are linear in the branches,
    so that embeddings change the prediction, and with it the class that is asked about, but not the map of a class:
    none are computed here.
    """

    network: CellClassifier
    """in eval mode, on its device; neither its weights nor their gradients are touched"""
    size: int
    """side of what the network sees, in pixels"""
    crop: float
    """side of the central part that is used, in sides of the image"""
    views: int
    """flips and quarter turns that a prediction is averaged over, 1 to 8; their maps are turned back and averaged"""

    @classmethod
    def of(cls, model: ClassifierModel) -> GradCAM:
        """That of a classifier, looking at what the classifier looks at.

        Raises:
            UserError: its method has no network that sees the pixels.
        """
        config = model.config
        if model.network.saliency_layer is None:
            raise UserError(
                f"saliency maps: method={config.method} has no network that sees the pixels; "
                "leave explain= out, or take a classifier of method=fusion"
            )
        return cls(model.network, config.size, config.crop, config.views)

    @classmethod
    def if_possible(cls, model: ClassifierModel) -> GradCAM | None:
        """`of`, or None where the method has no network that sees the pixels: figures are then drawn without maps."""
        return cls.of(model) if model.network.saliency_layer is not None else None

    def __call__(self, pixels: np.ndarray, classes: np.ndarray, batch: int = 64) -> np.ndarray:
        """Saliency for a class of each image.

        Args:
            pixels: uint8 [N, S, S, 3], decoded squares; a memory map will do.
            classes: int [N], the class that is asked about, such as the one that was predicted.
            batch: pictures at once.

        Returns:
            float32 [N, S, S] in the coordinates of the pictures, 0 to 1, the largest value of a map being 1; 0 outside
            the crop. All 0 where nothing speaks for the class.
        """
        device = next(self.network.parameters()).device
        found = np.zeros(pixels.shape[:3], np.float32)
        for start in range(0, len(pixels), batch):
            part = slice(start, start + batch)
            images = torch.from_numpy(np.array(pixels[part])).to(device)  # a copy: torch warns of read-only memory maps
            wanted = torch.from_numpy(np.asarray(classes[part], dtype=np.int64)).to(device)
            total = torch.zeros(images.shape[:3], device=device)
            for number in range(self.views):
                view = dihedral_augmentation(len(images), number)
                heat = self._grad_cam(apply_augmentation(images, view, self.size, self.crop), wanted)
                total += self._laid_back(heat, view, total)
            largest = total.amax((1, 2), keepdim=True)
            found[part] = (total / largest.clamp_min(torch.finfo(total.dtype).tiny)).cpu().numpy()
        return found

    def _grad_cam(self, seen: Tensor, classes: Tensor) -> Tensor:
        """Heat [N, 1, h, w], 0 or more, over the places of the last features; in float32."""
        from captum.attr import LayerGradCam  # those who only classify need none

        network = self.network
        assert network.saliency_layer is not None
        average = network.typical_embeddings(len(seen))
        # The last features, though they have 4 x 4 places for 64 px: turned and averaged they are fine enough. Maps of
        # earlier stages look sharper and say less: painting over their hottest places takes less from the logit. Before
        # the norm and the ReLU the map of many a cell is empty.
        cam = LayerGradCam(lambda images: network.logits(images, average), network.saliency_layer)
        return cam.attribute(seen.requires_grad_(), target=classes, relu_attributions=True).detach()

    def _laid_back(self, heat: Tensor, view: Augmentations, like: Tensor) -> Tensor:
        """Heat over a view [N, 1, h, w] as heat over the picture, the shape of `like` [N, S, S]."""
        # `render` takes the place u of a view from the place A u * crop of the picture, A being orthogonal.
        theta = torch.cat([view.affine.transpose(1, 2) / self.crop, view.offset.unsqueeze(-1)], -1).to(heat)
        grid = F.affine_grid(theta, [len(like), 1, *like.shape[1:]], align_corners=False)
        smooth = F.grid_sample(heat, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return smooth[:, 0] * torch.from_numpy(crop_mask(like.shape[1], self.crop)).to(like.device)


def crop_mask(size: int, crop: float) -> np.ndarray:
    """Which pixels of a square picture lie in the crop: bool [size, size], by their middles."""
    near = np.abs((2 * np.arange(size) + 1) / size - 1) <= crop
    return near[:, None] & near[None, :]
