"""A classifier in a folder: saved and loaded it predicts the same, whatever the other images of a batch are."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.description import DESCRIPTION, DETECTOR, ENCODERS, TRAINED_ON, WEIGHTS
from hemacell.classifiers.folder import load_folder, save_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import low_level_features
from hemacell.core.errors import UserError
from hemacell.data.augmentation import apply_augmentation, dihedral_augmentation, identity_augmentation
from hemacell.data.images import to_square
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.encoders.frozen import create_encoder
from hemacell.evaluation.temperature import apply_temperature
from tests.small_classifiers import small_autoencoder, small_backbone, small_config, small_network

CONFIG = small_config(
    classes=("Basophil", "Eosinophil", "Lymphocyte"),
    decoded_size=36,
    size=32,
    views=8,
    temperature=1.7,
    confidence_threshold=0.6,
    encoders=("prcc", "camelyon"),
)
BODIES = [small_autoencoder(crop=0.8), small_backbone(crop=0.8)]


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
    return [create_encoder(body, seed=seed) for seed, body in enumerate(BODIES)]


@pytest.fixture(scope="module")
def model(encoders, with_detector):
    pixels = np.stack([to_square(image, 36) for image in photographs(*[(40, 40)] * 12, seed=1)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    network = small_network(CONFIG, encoders, images[:, :, 3:33, 3:33])
    return with_detector(ClassifierModel(CONFIG, network, encoders))


@pytest.fixture
def folder(model, tmp_path):
    return save_folder(tmp_path / "model", model, ["a", "b"])


def test_a_way_through_a_folder_changes_no_prediction(model, folder):
    back = load_folder(folder)
    assert back.config == CONFIG and back.classes == CONFIG.classes and back.confidence_threshold == 0.6
    assert [encoder.config for encoder in back.encoders] == BODIES
    for found, expected in zip(back.predict_images(SQUARE), model.predict_images(SQUARE), strict=True):
        assert found == pytest.approx(expected, abs=1e-6)
    assert not back.network.training


def test_what_lies_in_the_folder(folder):
    assert {file.name for file in folder.iterdir()} == {WEIGHTS, DESCRIPTION, DETECTOR, ENCODERS, TRAINED_ON}
    assert {each.name for each in (folder / ENCODERS).iterdir()} == {"prcc", "camelyon"}
    assert json.loads((folder / TRAINED_ON).read_text()) == ["a", "b"]


def test_predictions_are_those_of_stored_embeddings(model, tmp_path):
    """One path: cached embeddings, as calibration and test use them, and pixels alone, as in use."""
    pixels = np.stack([np.asarray(image) for image in SQUARE])
    rows, names = np.arange(5), list("abcde")
    embeddings = [
        embed(encoder, pixels, rows, names, StoredViews(8, False), tmp_path, "float32") for encoder in model.encoders
    ]
    found, distance, score = model.predict_images(SQUARE)
    stored = model.predict_embedded(pixels, CellImages(rows, np.zeros(5, int), embeddings))
    assert stored.probabilities == pytest.approx(found, abs=1e-5)
    assert stored.distance == pytest.approx(distance, rel=1e-4)
    assert not score.any() and not stored.none_of_these.any()  # one of an earlier version
    raw = model.from_embeddings(pixels, rows, embeddings)
    assert found == pytest.approx(apply_temperature(raw, 1.7), abs=1e-5)
    assert found.dtype == distance.dtype == np.float32 and found.shape == (5, 3)
    assert found.sum(1) == pytest.approx(np.ones(5), abs=1e-6)
    assert found.std(0).max() > 0.01  # predictions differ


def test_probabilities_are_the_mean_over_turns_of_each_image(model):
    """One image and one turn at a time."""
    pixels = np.stack([np.asarray(image) for image in SQUARE])
    rng = np.random.default_rng(0)
    embeddings = [rng.normal(0, 1, (5, 8, encoder.width)).astype(np.float32) for encoder in model.encoders]
    found = model.from_embeddings(pixels, np.array([4, 1, 1]), [each[[4, 1, 1]] for each in embeddings])
    for place, row in enumerate([4, 1, 1]):
        shown = []
        for view in range(8):
            views = dihedral_augmentation(1, view)
            seen = apply_augmentation(torch.from_numpy(pixels[[row]]), views, 32, 0.8)
            given = [torch.from_numpy(each[[row], view]) for each in embeddings]
            with torch.no_grad():
                shown.append(model.network.logits(seen, given).softmax(1)[0].numpy())
        assert found[place] == pytest.approx(np.mean(shown, 0), abs=1e-5)


def test_what_the_detector_sees_is_the_crop_and_the_first_stage(model):
    pixels = np.stack([np.asarray(image) for image in SQUARE])
    with torch.no_grad():
        seen = apply_augmentation(torch.from_numpy(pixels), identity_augmentation(5), 32, 0.8)
        expected = low_level_features(seen, model.network.cell.early(seen, 1)).numpy()
    assert model.features(pixels, np.arange(5)) == pytest.approx(expected, abs=1e-3)
    assert model.distances(pixels) == pytest.approx(model.predict_images(SQUARE).distance, rel=1e-4)


def test_images_of_odd_sizes(model):
    odd = photographs((36, 36), (1, 1), (7, 300), (301, 19), (53, 47))
    found = model.predict_images(odd).probabilities
    assert found.shape == (5, 3) and np.isfinite(found).all()
    squares = [Image.fromarray(to_square(image, 36)) for image in odd]
    assert model.predict_images(squares).probabilities == pytest.approx(found, abs=1e-6)
    assert found[0] == pytest.approx(model.predict_images(odd[:1]).probabilities[0], abs=1e-5)


def test_the_company_of_an_image_does_not_change_its_answer(model):
    images = photographs(*[(36, 36)] * 7, seed=3)
    together = model.predict_images(images).probabilities
    alone = np.concatenate([model.predict_images([image]).probabilities for image in images])
    assert together == pytest.approx(alone, abs=1e-5)
    assert model.predict_images(images[::-1]).probabilities[::-1] == pytest.approx(alone, abs=1e-5)
    pixels = np.stack([np.asarray(image) for image in images])
    assert model.predict_pixels(pixels, batch=3).probabilities == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_a_turned_cell_keeps_its_answer(model, turn):
    found = model.predict_images([image.transpose(turn) for image in SQUARE]).probabilities
    assert found == pytest.approx(model.predict_images(SQUARE).probabilities, abs=1e-5)


def test_bfloat16_is_near(model, folder):
    exact, quick = model.predict_images(SQUARE), load_folder(folder, "bf16").predict_images(SQUARE)
    assert not np.array_equal(exact.probabilities, quick.probabilities)
    assert quick.probabilities == pytest.approx(exact.probabilities, abs=0.03)
    assert np.array_equal(exact.distance, quick.distance)  # always float32


def test_without_encoders(tmp_path, with_detector):
    config = CONFIG.model_copy(update={"encoders": ()})
    made = with_detector(ClassifierModel(config, small_network(config, []), []))
    back = load_folder(save_folder(tmp_path, made, []))
    assert back.predict_images(SQUARE).probabilities == pytest.approx(
        made.predict_images(SQUARE).probabilities, abs=1e-6
    )
    assert not (tmp_path / ENCODERS).exists()


def test_a_classifier_is_for_use_whatever_the_network_was_in(encoders):
    assert not ClassifierModel(CONFIG, small_network(CONFIG, encoders).train(), encoders).network.training


def test_another_crop_shares_no_tensor(model):
    """The `meta` device has no values: whatever still lay on the CPU, or moved unasked, would end in an error."""
    wide = model.with_crop(1.0)
    assert wide.config.crop == 1.0 and model.config.crop == 0.8
    before = model.predict_images(SQUARE).probabilities
    assert np.abs(wide.predict_images(SQUARE).probabilities - before).max() > 1e-4
    wide.to("meta")
    assert np.array_equal(model.predict_images(SQUARE).probabilities, before)


def test_a_classifier_on_another_device_can_be_given_another_crop(model):
    moved = model.with_crop(0.8).to("meta").with_crop(1.0)
    assert {each.device.type for each in (*moved.parameters(), *moved.buffers())} == {"meta"}
    probabilities, distance, score = moved(torch.zeros(2, 36, 36, 3, dtype=torch.uint8, device="meta"))
    assert probabilities.shape == (2, 3) and distance.shape == (2,)
    assert score.shape == (2,)
    assert {each.device.type for each in (probabilities, distance, score)} == {"meta"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / DESCRIPTION).unlink(),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / DETECTOR).unlink(),
        lambda folder: save_file(dict(list(load_file(folder / DETECTOR).items())[1:]), folder / DETECTOR),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000]),
        lambda folder: (folder / DESCRIPTION).write_text("{}"),
        lambda folder: (folder / DESCRIPTION).write_text("no json"),
        lambda folder: (folder / DESCRIPTION).write_text(
            CONFIG.model_copy(update={"hyperparameters": {"projection": 9}}).model_dump_json()
        ),
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
