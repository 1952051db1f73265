"""Saliency maps: Grad-CAM of the network that sees the pixels, as a map over the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hemacell.classifiers.model import ClassifierModel, PixelClassifier
from hemacell.core.errors import UserError
from hemacell.data.augmentation import Augmentations, apply_augmentation, dihedral_augmentation


@dataclass(frozen=True, eq=False)
class GradCAM:
    """Which places of an image support a class: Grad-CAM (Selvaraju et al. 2017), by captum.

    It explains the part of the logits that comes from the branch that sees the pixels, not what the frozen encoders
    contribute. The heads are linear in the branches, so that embeddings change the prediction, but not the map of a
    class: the mean embeddings stand for those of each image.
    """

    network: PixelClassifier
    """in eval mode, on its device; neither its weights nor their gradients are touched"""
    size: int
    """side of what the network sees, in pixels"""
    crop: float
    """side of the central part that is used, in sides of the image"""
    views: int
    """flips and quarter turns that a prediction is averaged over, 1 to 8; their maps are turned back and averaged"""

    @classmethod
    def of(cls, model: ClassifierModel) -> GradCAM:
        """That of a classifier, over the same crop and views.

        Raises:
            UserError: its method has no network that sees the pixels.
        """
        if found := cls.if_possible(model):
            return found
        raise UserError(
            f"saliency maps: method={model.config.method} has no network that sees the pixels; "
            "leave explain= out, or take a classifier of method=fusion"
        )

    @classmethod
    def if_possible(cls, model: ClassifierModel) -> GradCAM | None:
        """`of`, or None where the method has no network that sees the pixels: figures are then drawn without maps."""
        network, config = model.network, model.config
        return cls(network, config.size, config.crop, config.views) if isinstance(network, PixelClassifier) else None

    def __call__(self, pixels: np.ndarray, classes: np.ndarray, batch: int = 64) -> np.ndarray:
        """Saliency for a class of each image.

        Args:
            pixels: uint8 [N, S, S, 3], decoded squares; a memory map will do.
            classes: int [N], the class to explain, such as the one that was predicted.
            batch: images at once.

        Returns:
            float32 [N, S, S] in the coordinates of the images, 0 to 1, the largest value of a map being 1; 0 outside
            the crop. All 0 where nothing supports the class.
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
                saliency = self._grad_cam(apply_augmentation(images, view, self.size, self.crop), wanted)
                total += self._turned_back(saliency, view, total)
            largest = total.amax((1, 2), keepdim=True)
            found[part] = (total / largest.clamp_min(torch.finfo(total.dtype).tiny)).cpu().numpy()
        return found

    def _grad_cam(self, seen: Tensor, classes: Tensor) -> Tensor:
        """Saliency float32 [N, 1, h, w], 0 or more, over the places of the last features."""
        from captum.attr import LayerGradCam  # not needed for classifying alone

        network = self.network
        average = network.typical_embeddings(len(seen))
        # The last features, though they have 4 x 4 places for 64 px: averaged over turns they are fine enough. Maps of
        # earlier stages look sharper and say less: painting over their highest places takes less from the logit. Before
        # the norm and the ReLU the maps of many cells are empty.
        cam = LayerGradCam(lambda images: network.logits(images, average), network.saliency_layer)
        return cam.attribute(seen.requires_grad_(), target=classes, relu_attributions=True).detach()

    def _turned_back(self, saliency: Tensor, view: Augmentations, like: Tensor) -> Tensor:
        """Saliency over a view [N, 1, h, w] as saliency over the image, the shape of `like` [N, S, S]."""
        # `apply_augmentation` takes the place u of a view from the place A u * crop of the image, A being orthogonal.
        theta = torch.cat([view.affine.transpose(1, 2) / self.crop, view.offset.unsqueeze(-1)], -1).to(saliency)
        grid = F.affine_grid(theta, [len(like), 1, *like.shape[1:]], align_corners=False)
        smooth = F.grid_sample(saliency, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return smooth[:, 0] * torch.from_numpy(crop_mask(like.shape[1], self.crop)).to(like.device)


def crop_mask(size: int, crop: float) -> np.ndarray:
    """Which pixels of a square image lie in the crop: bool [size, size], by their centers."""
    near = np.abs((2 * np.arange(size) + 1) / size - 1) <= crop
    return near[:, None] & near[None, :]
