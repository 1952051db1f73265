"""The registry of encoders: names, controls, and what decides the weights of one that is built."""

import subprocess
import sys

import pytest
from safetensors.torch import save_file

from hemacell.core.errors import UserError
from hemacell.encoders.architectures import RANDOM
from hemacell.encoders.camelyon import camelyon
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.registry import (
    ENCODERS,
    EncoderSource,
    control_of_arm,
    encoder,
    encoder_slug,
    find_entry,
    source_identity,
)

CONFIG = EncoderConfig(kind="autoencoder", body={"widths": [8, 8], "latent_channels": 2}, input_size=16)


@pytest.fixture
def mine():
    before = set(ENCODERS)

    @encoder("mine", label="my encoder", control="random", colour="red")
    def mine(name: str) -> EncoderSource:
        return EncoderSource(CONFIG, "mine.safetensors")

    yield mine
    for name in set(ENCODERS) - before:
        ENCODERS.remove(name)


@pytest.mark.parametrize(
    ("arm", "control"),
    [
        ("prcc", "random-prcc"),
        ("camelyon", "imagenet"),
        ("imagenet", "random-imagenet"),
        ("prcc,camelyon", "random-prcc,imagenet"),
        ("timm:resnet18", "random-timm:resnet18"),
        ("none", ""),
        ("random-prcc", ""),
        ("prcc,models:/mine/1", ""),
        ("a probe of mine", ""),
    ],
)
def test_an_arm_is_judged_against_the_controls_of_its_encoders(arm, control):
    assert control_of_arm(arm) == control


def test_one_function_makes_an_encoder_and_its_control(mine):
    assert find_entry("mine").source("mine").weights == "mine.safetensors"
    control = find_entry("random-mine")
    assert control.source("random-mine") == EncoderSource(CONFIG, RANDOM)
    assert control_of_arm("mine,prcc") == "random-mine,random-prcc"


def test_a_prefix_stands_for_every_network_of_timm():
    entry = find_entry("random-timm:resnet18")
    assert entry.name == "random-timm:resnet18"
    assert entry.source(entry.name) == EncoderSource(
        EncoderConfig(kind="backbone", body={"arch": "resnet18"}, input_size=96), RANDOM
    )
    assert encoder_slug("timm:vit_tiny.augreg") == "timm-vit-tiny-augreg"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prc", r"did you mean prcc\? \(none and models:/NAME/VERSION are accepted as well\)"),
        ("xyz", "there are .*camelyon, "),
    ],
)
def test_a_misspelt_name(name, words):
    with pytest.raises(UserError, match=f"unknown encoder '{name}'; {words}"):
        find_entry(name)


@pytest.mark.parametrize("name", ["none", "models:/mine", "prcc"])
def test_names_that_cannot_be_registered(name):
    assert "prcc" in ENCODERS
    with pytest.raises(ValueError, match=r"already|something else"):
        encoder(name, label="x")(camelyon)


def test_identity_is_network_weights_and_the_seed_of_random_ones(tmp_path):
    save_file({}, tmp_path / "a.safetensors")
    other = CONFIG.model_copy(update={"body": {"widths": [8, 16], "latent_channels": 2}})
    sources = [
        EncoderSource(CONFIG, RANDOM),
        EncoderSource(other, RANDOM),
        EncoderSource(CONFIG, "imagenet"),
        EncoderSource(CONFIG, str(tmp_path / "a.safetensors")),
    ]
    assert len({source_identity(source, 0) for source in sources}) == 4
    assert source_identity(sources[0], 0) != source_identity(sources[0], 1)
    assert source_identity(sources[2], 0) == source_identity(sources[2], 1)
    before = source_identity(sources[3], 0)
    (tmp_path / "a.safetensors").write_bytes(b"other weights of the same name")
    assert source_identity(sources[3], 0) != before
    with pytest.raises(UserError, match="found no such file"):
        source_identity(EncoderSource(CONFIG, "gone.safetensors"), 0)


def test_names_and_controls_need_no_torch():
    code = "import sys, hemacell.encoders.registry as r; r.control_of_arm('prcc'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
