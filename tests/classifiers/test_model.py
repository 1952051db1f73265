"""A classifier in a folder: the same answers after the way through it, whatever comes beside an image."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hemacell.classifiers.model import (
    DESCRIPTION,
    ENCODERS,
    REFERENCE,
    TRAINED_ON,
    WEIGHTS,
    ClassifierConfig,
    Predictor,
    build_network,
    load_folder,
    save_folder,
)
from hemacell.classifiers.ood import statistics
from hemacell.classifiers.probabilities import apply_temperature, tta_probabilities
from hemacell.core.errors import UserError
from hemacell.data.images import to_square
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.encoders.frozen import EncoderConfig, random_encoder

CONFIG = ClassifierConfig(
    classes=("Basophil", "Eosinophil", "Lymphocyte"),
    decoded_size=36,
    size=32,
    crop=0.8,
    views=8,
    temperature=1.7,
    confidence_threshold=0.6,
    widths=(8, 8, 16, 16),
    blocks=(1, 1, 1, 1),
    projection=8,
    encoders=("prcc", "camelyon"),
)
BODIES = [
    EncoderConfig(kind="autoencoder", body={"widths": [8, 16], "latent_channels": 3}, input_size=32, crop=0.8),
    EncoderConfig(kind="backbone", body={"arch": "test_efficientnet"}, input_size=32, crop=0.8),
]


def photographs(*sizes, seed=0):
    """Blobs on a ground, of any sizes (width, height)."""
    rng = np.random.default_rng(seed)
    result = []
    for width, height in sizes:
        small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        result.append(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return result


SQUARE = photographs(*[(36, 36)] * 5)


@pytest.fixture(scope="module")
def encoders():
    return [random_encoder(body, seed) for seed, body in enumerate(BODIES)]


@pytest.fixture(scope="module")
def predictor(encoders, known_to):
    torch.manual_seed(0)
    network = build_network(CONFIG, [encoder.width for encoder in encoders])
    pixels = np.stack([to_square(image, 36) for image in photographs(*[(40, 40)] * 12, seed=1)])
    made = Predictor(CONFIG, network, encoders, known_to(CONFIG, network))
    for projection, encoder in zip(network.projections, encoders, strict=True):
        projection.standardise(torch.from_numpy(made._embeddings(encoder, pixels)).flatten(0, 1))
    with torch.no_grad():
        for head in (network.cell_head, *network.heads, network.fused_head):
            head.weight.mul_(4)  # answers that differ
    return made


@pytest.fixture
def folder(predictor, tmp_path):
    return save_folder(
        tmp_path / "model", CONFIG, predictor.network, predictor.encoders, predictor.reference, ["a", "b"]
    )


def test_a_way_through_a_folder_changes_no_answer(predictor, folder):
    back = load_folder(folder)
    assert back.config == CONFIG and back.classes == CONFIG.classes and back.confidence_threshold == 0.6
    assert [encoder.config for encoder in back.encoders] == BODIES
    for found, expected in zip(back.predict_images(SQUARE), predictor.predict_images(SQUARE), strict=True):
        assert found == pytest.approx(expected, abs=1e-6)
    assert not back.network.training


def test_what_lies_in_the_folder(folder):
    assert {file.name for file in folder.iterdir()} == {WEIGHTS, DESCRIPTION, REFERENCE, ENCODERS, TRAINED_ON}
    assert {each.name for each in (folder / ENCODERS).iterdir()} == {"prcc", "camelyon"}
    assert json.loads((folder / TRAINED_ON).read_text()) == ["a", "b"]


def test_answers_are_those_that_training_saw(predictor, tmp_path):
    """Stored embeddings, the averaged views of `tta_probabilities`, tempered, and the distances."""
    pixels = np.stack([np.asarray(image) for image in SQUARE])
    rows, names = np.arange(5), list("abcde")
    embeddings = [
        embed(encoder, pixels, rows, names, StoredViews(8, False), tmp_path, "float32")
        for encoder in predictor.encoders
    ]
    expected = tta_probabilities(
        predictor.network, pixels, rows, embeddings, size=32, crop=0.8, views=8, precision="float32"
    )
    found, distance = predictor.predict_images(SQUARE)
    assert found == pytest.approx(apply_temperature(expected, 1.7), abs=1e-5)
    seen = statistics(predictor.network.cell, pixels, np.arange(len(pixels)), size=32, crop=0.8)
    assert distance == pytest.approx(predictor.reference.distance(seen), rel=1e-4)
    assert found.dtype == np.float32 and found.shape == (5, 3)
    assert found.sum(1) == pytest.approx(np.ones(5), abs=1e-6)
    assert found.std(0).max() > 0.01  # cells are told apart at all


def test_images_of_odd_sizes(predictor):
    odd = photographs((36, 36), (1, 1), (7, 300), (301, 19), (53, 47))
    found = predictor.predict_images(odd).probabilities
    assert found.shape == (5, 3) and np.isfinite(found).all()
    squares = [Image.fromarray(to_square(image, 36)) for image in odd]
    assert predictor.predict_images(squares).probabilities == pytest.approx(found, abs=1e-6)
    assert found[0] == pytest.approx(predictor.predict_images(odd[:1]).probabilities[0], abs=1e-5)


def test_the_company_of_an_image_does_not_change_its_answer(predictor):
    images = photographs(*[(36, 36)] * 7, seed=3)
    together = predictor.predict_images(images).probabilities
    alone = np.concatenate([predictor.predict_images([image]).probabilities for image in images])
    assert together == pytest.approx(alone, abs=1e-5)
    assert predictor.predict_images(images[::-1]).probabilities[::-1] == pytest.approx(alone, abs=1e-5)
    pixels = np.stack([np.asarray(image) for image in images])
    assert predictor.predict_pixels(pixels, batch=3).probabilities == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_a_turned_cell_keeps_its_answer(predictor, turn):
    found = predictor.predict_images([image.transpose(turn) for image in SQUARE]).probabilities
    assert found == pytest.approx(predictor.predict_images(SQUARE).probabilities, abs=1e-5)


def test_bfloat16_is_near(predictor, folder):
    exact, quick = predictor.predict_images(SQUARE), load_folder(folder, "bf16").predict_images(SQUARE)
    assert not np.array_equal(exact.probabilities, quick.probabilities)
    assert quick.probabilities == pytest.approx(exact.probabilities, abs=0.03)
    assert np.array_equal(exact.distance, quick.distance)  # always float32


def test_without_encoders(tmp_path, known_to):
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"encoders": ()})
    network = build_network(config, [])
    known = known_to(config, network)
    made = Predictor(config, network, [], known)
    back = load_folder(save_folder(tmp_path, config, network, [], known, []))
    assert back.predict_images(SQUARE).probabilities == pytest.approx(
        made.predict_images(SQUARE).probabilities, abs=1e-6
    )
    assert not (tmp_path / ENCODERS).exists()


def test_a_predictor_is_for_use_whatever_the_network_was_in(encoders, known_to):
    network = build_network(CONFIG, [encoder.width for encoder in encoders]).train()
    assert not Predictor(CONFIG, network, encoders, known_to(CONFIG, network)).network.training


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / DESCRIPTION).unlink(),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / REFERENCE).unlink(),
        lambda folder: save_file(dict(list(load_file(folder / REFERENCE).items())[1:]), folder / REFERENCE),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000]),
        lambda folder: (folder / DESCRIPTION).write_text("{}"),
        lambda folder: (folder / DESCRIPTION).write_text("no json"),
        lambda folder: (folder / DESCRIPTION).write_text(CONFIG.model_copy(update={"projection": 9}).model_dump_json()),
        lambda folder: (folder / DESCRIPTION).write_text(json.dumps(CONFIG.model_dump() | {"colour": 1, "shape": 2})),
        lambda folder: (folder / ENCODERS / "prcc" / DESCRIPTION.replace("classifier", "encoder")).unlink(),
        lambda folder: save_file(dict(list(load_file(folder / WEIGHTS).items())[1:]), folder / WEIGHTS),
    ],
)
def test_a_folder_that_is_no_classifier_is_refused_in_one_line(folder, spoil):
    spoil(folder)
    with pytest.raises(UserError) as caught:
        load_folder(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
