"""`encoders=morphology`: the measurements as an embedding, and an encoder like any other."""

import numpy as np
import pytest
import torch

from hemacell.classifiers.grad_cam import GradCAM
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.onnx_file import check_exportable
from hemacell.core.errors import UserError
from hemacell.data.augmentation import dihedral_views
from hemacell.data.morphology import MEASUREMENTS, VERSION, measure_morphology
from hemacell.data.nucleus import glass_colour
from hemacell.encoders import embeddings as module
from hemacell.encoders.architectures import build_body
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.encoders.frozen import create_encoder, encoder_digest, load_encoder, save_encoder
from hemacell.encoders.measured_cell import MeasuredCell, embedded
from hemacell.encoders.registry import control_of_arm, find_entry
from tests.small_classifiers import small_config, small_network

SOURCE = find_entry("morphology").source("morphology")
SIDE = 48


def cells(count: int) -> np.ndarray:
    """Discs of several sizes and colours on cytoplasm, uint8 [count, SIDE, SIDE, 3]."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    made = np.full((count, SIDE, SIDE, 3), 240, np.uint8)
    for picture in made:
        x, y = random.uniform(20, 28, 2)
        away = np.hypot(rows - y, (columns - x) * random.uniform(1, 1.5))
        picture[away < random.uniform(16, 20)] = random.integers(170, 220, 3)
        picture[away < random.uniform(7, 13)] = np.add((90, 40, 140), random.integers(-30, 30, 3))
    return made


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def encoder():
    return create_encoder(SOURCE.config.model_copy(update={"input_size": SIDE}))


@pytest.mark.parametrize("threads", [1, 3])
def test_embeddings_are_the_measurements(encoder, threads):
    pixels, before = cells(5), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = encoder.embed(tensor(pixels), "bf16")
    finally:
        torch.set_num_threads(before)
    expected = embedded(np.stack([measure_morphology(each) for each in pixels]))
    assert encoder.width == len(MEASUREMENTS) and found.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected) and expected[:, 0].all()


def test_over_the_pictures_own_glass_there_are_other_numbers(encoder):
    own = create_encoder(SOURCE.config.model_copy(update={"body": {"version": VERSION, "glass": "picture"}}))
    found = own.with_crop(SIDE, 1.0)(tensor(cells(2)))
    expected = np.stack([measure_morphology(each, glass_colour(each)) for each in cells(2)])
    assert np.array_equal(found.numpy(), embedded(expected))
    assert encoder_digest(own.with_crop(SIDE, 1.0)) != encoder_digest(encoder)


def test_another_stain_is_a_shift_of_the_embedding():
    pale = np.round(255 * (cells(6) / 255.0) ** 0.6).astype(np.uint8)
    moved = [MeasuredCell().embedding(tensor(pixels)) for pixels in (cells(6), pale)]
    densities = [n for n, each in enumerate(MEASUREMENTS.values()) if each.unit == "OD"]
    shift = (moved[1] - moved[0])[:, densities]
    assert (shift.std(0) < 0.15).all() and (shift[:, 0] < -0.2).all()


def test_more_of_the_picture_is_shown_than_to_other_encoders(encoder):
    assert encoder.with_crop(SIDE, 0.4).config.crop == pytest.approx(0.6)
    assert encoder.with_crop(SIDE, 0.9).config.crop == 1.0


def test_a_way_through_a_folder_changes_nothing(encoder, tmp_path):
    back = load_encoder(save_encoder(tmp_path, encoder.config, encoder.weights()))
    assert encoder_digest(back) == encoder_digest(encoder)
    assert torch.equal(back(tensor(cells(2))), encoder(tensor(cells(2))))


def test_another_version_has_another_digest_and_is_refused(encoder, monkeypatch):
    monkeypatch.setattr("hemacell.encoders.measured_cell.VERSION", VERSION + 1)
    monkeypatch.setattr("hemacell.data.morphology.VERSION", VERSION + 1)
    with pytest.raises(
        UserError, match=f"made with version {VERSION} of the measurements, found version {VERSION + 1}"
    ):
        build_body(SOURCE.config)
    newer = create_encoder(find_entry("morphology").source("morphology").config).with_crop(SIDE, 1.0)
    assert encoder_digest(newer) != encoder_digest(encoder)


def test_an_unknown_glass_is_refused():
    with pytest.raises(UserError, match="expected glass=picture or white, found blue"):
        build_body(SOURCE.config.model_copy(update={"body": {"version": VERSION, "glass": "blue"}}))


def test_there_is_no_control():
    assert control_of_arm("morphology") == "" == control_of_arm("imagenet,morphology")


def test_stored_turns_are_measured_once(encoder, tmp_path, monkeypatch):
    calls = []
    compute = module._compute
    monkeypatch.setattr(module, "_compute", lambda *given: calls.append(len(given[1])) or compute(*given))
    pixels = cells(3)
    found = embed(encoder, pixels, np.arange(3), list("abc"), StoredViews(8, False), tmp_path, "float32")
    assert found.shape == (3, 8, encoder.width) and calls == [3]
    assert (found == found[:, :1]).all()
    turned = encoder(dihedral_views(tensor(pixels), 8)).unflatten(0, (8, 3)).transpose(0, 1).numpy()
    assert found == pytest.approx(turned, rel=0.02, abs=0.02)
    embed(encoder, pixels, np.arange(3), list("abc"), StoredViews(2, True), tmp_path, "float32")
    assert calls == [3, 6]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_it_works_in_a_classifier_with_its_detector_and_saliency(encoder, with_detector, precision):
    config = small_config(decoded_size=SIDE, views=4, encoders=("morphology",))
    shown = encoder.with_crop(SIDE, 0.8)
    network = small_network(config, [shown], tensor(cells(16)))
    model = with_detector(ClassifierModel(config, network, [shown], precision=precision))
    found = model.predict_pixels(cells(5))
    assert np.isfinite(found.probabilities).all() and np.isfinite(found.distance).all()
    assert found.probabilities.std(0).max() > 0
    stored = model.crop(tensor(cells(5)))
    embedded = shown(model.encoder_crops[0](tensor(cells(5)))).numpy()
    raw = model.from_embeddings(cells(5), np.arange(5), [np.repeat(embedded[:, None], 4, 1)])
    assert stored.shape[0] == 5
    assert model.apply_temperature(torch.from_numpy(raw)).numpy() == pytest.approx(found.probabilities, abs=2e-2)
    saliency = GradCAM.of(model)(cells(2), np.array([0, 1]))
    assert saliency.shape == (2, SIDE, SIDE) and np.isfinite(saliency).all()


def test_onnx_refuses_it_by_name_in_one_line(encoder, tmp_path):
    save_encoder(tmp_path / "encoders" / "morphology", encoder.config, encoder.weights())
    with pytest.raises(UserError, match="the encoder morphology measures pictures") as caught:
        check_exportable(tmp_path)
    assert "\n" not in str(caught.value)
    check_exportable(tmp_path / "encoders")  # nothing there
