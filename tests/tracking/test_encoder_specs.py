"""The setting `encoders`: what decides the weights of each, before it is loaded."""

import pytest

from hemacell.encoders.description import DESCRIPTION, EncoderConfig
from hemacell.tracking.registry import encoders as module
from hemacell.tracking.registry.encoders import load_encoders, resolve_encoders
from hemacell.tracking.registry.lookup import RegisteredModel


@pytest.fixture
def registered(monkeypatch, tmp_path):
    """Registered encoders that are only described: registered(name, config)."""
    models = {}

    def register(name, config):
        version = str(len(models) + 1)
        models[name] = RegisteredModel(name, version, f"m-{version:0>32}", "run")
        folder = tmp_path / models[name].model_id
        folder.mkdir()
        (folder / DESCRIPTION).write_text(config.model_dump_json())

    monkeypatch.setattr(module, "find", lambda name, kind: models.get(name))
    monkeypatch.setattr(module, "fetch", lambda model, cache: tmp_path / model.model_id)
    return register


def identities(*names, seed=0):
    return [spec.identity for spec in resolve_encoders(names, "folder", None, seed)]


def test_a_control_is_another_one_once_another_network_is_registered(registered):
    controls = ("random-prcc", "imagenet", "random-imagenet")
    before = identities(*controls)
    small = {"widths": [8, 16], "latent_channels": 2}
    registered("hemacell-prcc-encoder", EncoderConfig(kind="autoencoder", body=small, input_size=96))
    registered("hemacell-camelyon-encoder", EncoderConfig(kind="backbone", body={"arch": "resnet18"}, input_size=96))
    after = identities(*controls)
    assert all(old != new for old, new in zip(before, after, strict=True))
    (encoder,) = load_encoders(resolve_encoders(["random-prcc"], "folder", None), None, 32, 0.5)
    assert encoder.config == EncoderConfig(kind="autoencoder", body=small, input_size=32, crop=0.5)


def test_the_default_network_registered_changes_no_control(registered):
    before = identities("random-prcc", "imagenet")
    for name in ("prcc", "camelyon"):
        entry = module.ENCODERS[name]
        config = entry.source(name).config.model_copy(update={"input_size": 128})
        registered(entry.registered_name, config)
    assert identities("random-prcc", "imagenet") == before


def test_the_seed_counts_for_random_weights_only(registered):
    first, second = identities("random-prcc", "imagenet"), identities("random-prcc", "imagenet", seed=1)
    assert first[0] != second[0] and first[1] == second[1]


def test_what_is_not_registered_is_missing_and_names_its_job(registered):
    (spec,) = resolve_encoders(["prcc"], "folder", None)
    assert spec.missing and spec.entry.job == "prcc"
    registered("hemacell-prcc-encoder", EncoderConfig(kind="autoencoder", body={}, input_size=96))
    (spec,) = resolve_encoders(["prcc", "none"], "folder", None)
    assert not spec.missing and spec.identity == spec.model.model_id and spec.uri == "models:/hemacell-prcc-encoder/1"
