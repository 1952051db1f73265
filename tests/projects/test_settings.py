"""Every setting of `wbc` that must do something does it: seen in what the training loop is handed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hemacell.config.jobs import StudySettings, WbcSettings
from hemacell.core.errors import UserError
from hemacell.data.augmentation import AugmentationConfig

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


class Enough(Exception):
    """The training would begin now."""


@pytest.fixture(scope="module")
def own(new_store):
    return new_store("settings")


@pytest.fixture
def handed(own, monkeypatch) -> Callable[..., SimpleNamespace]:
    """Start a tiny `wbc` up to its training: the task, the network and the settings of the loop."""

    def start(in_store=own, **given: object) -> SimpleNamespace:
        seen = SimpleNamespace()

        def fit(task, network, loop, **_):
            seen.task, seen.network, seen.loop = task, network, loop
            raise Enough

        monkeypatch.setattr("hemacell.jobs.training.fit", fit)
        with pytest.raises(Enough):
            in_store.run("wbc", **{"encoders": ("none",), "synthetic_laboratories": 0, **given})
        return seen

    return start


def images_of(seen) -> set[int]:
    """Which of all decoded images are trained on."""
    return set(seen.task.train.rows.tolist())


def test_masks_add_masked_copies_to_the_training_images_only(handed):
    on, off = handed(), handed(masks="off")
    assert len(on.task.train) > len(off.task.train)
    assert len(on.task.val) == len(off.task.val)


def test_mask_from_adds_another_folders_cells_and_their_masked_copies(handed, sample, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "WBC_100").symlink_to(sample / "WBC_100")
    for number, name in enumerate(CLASSES):
        for kind in ("data", "mask"):
            folder = tmp_path / "data" / "WBC_JTSC" / "train" / kind / name
            folder.mkdir(parents=True)
            pixels = np.random.default_rng([number, len(kind)]).integers(0, 256, (96, 96, 3), np.uint8)
            picture = Image.fromarray(pixels) if kind == "data" else Image.new("L", (96, 96), 255)
            picture.save(folder / "one.png")
    settings = {"data": str(tmp_path / "data"), "limit": 0}
    without, with_ = handed(**settings), handed(**settings, mask_from="WBC_JTSC")
    assert len(with_.task.train) == len(without.task.train) + 10
    assert len(with_.task.val) == len(without.task.val)


def test_labels_per_class(handed):
    assert np.bincount(handed(labels_per_class=2, masks="off").task.train.labels).tolist() == [2] * 5


def test_fractions_are_nested_and_draws_differ(handed):
    half, tenth = handed(fraction=0.5, masks="off"), handed(fraction=0.1, masks="off")
    assert images_of(tenth) < images_of(half)
    other = handed(fraction=0.5, masks="off", draw=1)
    assert images_of(other) != images_of(half)
    assert np.bincount(other.task.train.labels).tolist() == np.bincount(half.task.train.labels).tolist()
    assert set(half.task.val.rows) == set(other.task.val.rows)


def test_the_official_draw(handed, sample, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "WBC_100").symlink_to(sample / "WBC_100")
    for name in CLASSES:
        folder = tmp_path / "data" / "WBC_10" / "train" / "data" / name
        folder.mkdir(parents=True)
        for path in sorted((sample / "WBC_100" / "train" / "data" / name).iterdir())[:3]:
            shutil.copy(path, folder)
    seen = handed(data=str(tmp_path / "data"), limit=0, masks="off", fraction=0.1, draw="official")
    assert np.bincount(seen.task.train.labels).tolist() == [3] * 5


def test_limit(handed):
    small, large = handed(limit=30), handed(limit=90)
    assert len(small.task.train) < len(large.task.train)
    assert len(small.task.pixels) < len(large.task.pixels)


def test_balance(handed):
    plain, sampler, augment = (handed(balance=how) for how in ("none", "sampler", "augment"))
    counts = np.bincount(plain.task.train.labels)
    assert len(set(counts)) > 1 and plain.task.order.weights is None
    chances = np.bincount(sampler.task.train.labels, weights=sampler.task.order.weights)
    np.testing.assert_allclose(chances, 0.2)
    assert np.bincount(augment.task.train.labels).tolist() == [counts.max()] * 5
    assert images_of(augment) == images_of(plain)
    assert len(augment.task.views) == 2 * len(augment.task.train)


def test_class_weights(handed):
    plain, weighed = handed(), handed(class_weights=True)
    assert plain.task.class_weights is None
    counts = np.bincount(weighed.task.train.labels)
    weights = weighed.task.class_weights
    np.testing.assert_allclose(weights * counts, (weights * counts)[0], rtol=1e-5)


def test_synthetic_laboratories_follow_the_training_cells(handed):
    given = {"synthetic_images": 8, "synthetic_share": 0.25, "encoders": ("random-prcc",), "masks": "off"}
    plain, both = handed(**given), handed(synthetic_laboratories=3, **given)
    train, own = both.task.train, len(plain.task.train)
    assert len(train) == own + 3 * 8 and train.laboratories.tolist() == [0] * own + [1] * 8 + [2] * 8 + [3] * 8
    assert np.array_equal(train.labels[:own], plain.task.train.labels)
    assert both.task.order.weights[own:].sum() == pytest.approx(0.25)
    seen = both.task.pixels[train.rows[[0, own, own + 20]]]
    assert seen.shape[0] == 3 and len(both.task.pixels) == len(plain.task.pixels) + 24
    aligned, as_it_is = train.embeddings[0][own:, 0], train.embeddings[0][own:, 1]
    middle = plain.task.train.embeddings[0].mean((0, 1))
    assert np.abs(aligned.mean(0) - middle).mean() < np.abs(as_it_is.mean(0) - middle).mean()
    assert handed(crop=0.5, synthetic_laboratories=3).task.train.laboratories is None


def test_what_the_loop_is_told(handed):
    told = {
        "steps": 7,
        "learning_rate": 1e-4,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "max_grad_norm": 0.5,
        "ema_decay": 0.9,
        "checkpoint_selection": "best",
        "adam_beta1": 0.8,
        "adam_beta2": 0.95,
        "warmup": 0.3,
        "ema_ramp": 20.0,
        "num_evals": 3,
        "checkpoint_seconds": 1.5,
        "seed": 11,
        "device": "cpu",
        "precision": "float32",
    }
    loop = handed(**told).loop
    assert {name: getattr(loop, name) for name in told} == told


def test_what_the_task_is_told(handed):
    seen = handed(
        batch_size=5,
        label_smoothing=0.2,
        auxiliary_loss_weight=0.5,
        image_size=40,
        jitter_zoom=1.3,
        crop=0.7,
        train_views=3,
        precision="float32",
    )
    task = seen.task
    assert (task.batch_size, task.label_smoothing, task.auxiliary_loss_weight, task.size, task.crop) == (
        5,
        0.2,
        0.5,
        40,
        0.7,
    )
    assert task.jitter == AugmentationConfig(zoom=1.3, shift=0.02, stain=0.05, brightness=0.02)
    assert len(task.views) == 3 * len(task.train) and task.precision == "float32"
    assert handed(decoded_size=48).task.pixels.shape[1:] == (48, 48, 3)


def test_what_the_network_is_told(handed):
    from hemacell.classifiers.fusion_network import Projection

    given = {"dropout": 0.1, "embedding_dropout": 0.3, "branch_dropout": 0.4}
    network = handed(**given, encoders=("random-prcc",)).network
    (projection,) = (module for module in network.modules() if isinstance(module, Projection))
    assert (network.dropout.p, projection.dropout.p, network.branch_dropout) == (0.1, 0.3, 0.4)


def test_the_seed_decides_the_first_weights_and_the_draw_does_not(handed):
    def first(**given):
        return next(handed(fraction=0.5, **given).network.parameters()).detach().clone()

    assert first(seed=1).equal(first(seed=1, draw=2))
    assert not first(seed=1).equal(first(seed=2))


def test_steps_of_their_own_accord_grow_with_the_images_of_the_draw(handed):
    assert handed(steps=0, fraction=0.1).loop.steps < handed(steps=0).loop.steps


@pytest.mark.slow
def test_built_in_encoders(handed):
    names = ("random-prcc", "random-imagenet", "imagenet")
    prcc, untrained, imagenet = (each[:, 0] for each in handed(encoders=names).task.train.embeddings)
    assert untrained.shape == imagenet.shape and prcc.shape[1] != imagenet.shape[1]
    assert not np.allclose(untrained, imagenet)
    other = handed(encoders=names, seed=5).task.train.embeddings
    assert not np.allclose(other[0][:, 0], prcc)
    np.testing.assert_array_equal(other[2][:, 0], imagenet)
    none = handed(encoders=("none",))
    assert none.task.train.embeddings == [] and len(none.network.projections) == 0


@pytest.mark.slow
def test_registered_encoders_by_name_and_by_address(handed, pipeline):
    store, _ = pipeline
    by_name = handed(store, encoders=("prcc",)).task.train.embeddings[0]
    by_version = handed(store, encoders=("models:/hemacell-prcc-encoder/2",)).task.train.embeddings[0]
    np.testing.assert_array_equal(by_name, by_version)
    earlier = handed(store, encoders=("models:/hemacell-prcc-encoder/1",)).task.train.embeddings[0]
    assert not np.allclose(by_name, earlier)
    newest = store.runs("tags.`hemacell.job` = 'wbc'")[0]
    assert newest.data.tags["encoder.hemacell-prcc-encoder-1"] == "models:/hemacell-prcc-encoder/1"


@pytest.mark.slow
def test_an_alias_is_noted_as_the_version_that_it_meant(handed, pipeline):
    store, _ = pipeline
    handed(store, encoders=("models:/hemacell-prcc-encoder@sample", "models:/hemacell-prcc-encoder/1"))
    tags = store.runs("tags.`hemacell.job` = 'wbc'")[0].data.tags
    assert tags["encoder.hemacell-prcc-encoder-sample"] == "models:/hemacell-prcc-encoder/2"
    assert tags["encoder.hemacell-prcc-encoder-1"] == "models:/hemacell-prcc-encoder/1"


@pytest.mark.slow
def test_init_starts_from_a_registered_classifier(handed, pipeline):
    store, _ = pipeline
    draw = {"fraction": 0.5, "encoders": ("prcc", "camelyon")}
    seen = handed(store, init_from="models:/hemacell-wbc/1", **draw)
    fresh = handed(store, **draw)
    from safetensors.torch import load_file

    from hemacell.tracking.registry import fetch

    with store.here():
        weights = load_file(fetch("models:/hemacell-wbc/1", store.cache) / "classifier.safetensors")
    started, begun = seen.network.state_dict(), fresh.network.state_dict()
    cell = [name for name in weights if name.startswith("cell.") and weights[name].dtype.is_floating_point]
    assert all(started[name].equal(weights[name]) for name in cell)
    assert not all(begun[name].equal(weights[name]) for name in cell)
    assert store.runs("tags.init_from = 'models:/hemacell-wbc/1'")


@pytest.mark.slow
def test_init_is_refused_where_that_model_saw_other_images(pipeline):
    store, _ = pipeline
    with pytest.raises(UserError, match=r"init_from: that model learnt from .* not in this draw"):
        store.run("wbc", fraction=0.1, encoders=("none",), init_from="models:/hemacell-wbc/1")
    assert not store.runs("attributes.status = 'RUNNING'")


@pytest.mark.slow
def test_init_wants_a_classifier(pipeline):
    store, _ = pipeline
    with pytest.raises(UserError, match="init_from: expected a registered classifier"):
        store.run("wbc", encoders=("none",), init_from="models:/hemacell-prcc-encoder/1")


def test_what_is_wrong_with_a_laboratorys_images_is_logged(own, other_laboratory, with_detector, tmp_path):
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.data.sources.labelled import labelled_images
    from hemacell.jobs.classifier import _evaluate_external
    from tests.small_classifiers import small_config, small_network

    folder = shutil.copytree(other_laboratory, tmp_path / "LISC")
    (folder / CLASSES[0] / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / CLASSES[0] / "notes.txt").write_text("no image")
    config = small_config(classes=CLASSES, decoded_size=64, size=32, crop=0.5, views=1, confidence_threshold=0.5)
    model = with_detector(ClassifierModel(config, small_network(config, []), []))
    images = labelled_images(folder, CLASSES, split="all")
    logged: dict[str, str] = {}
    contexts: list[str] = []
    run = SimpleNamespace(
        metrics=lambda *_: None,
        tags=lambda found: logged.update(found),
        data_input=lambda *given: contexts.append(given[-1]),
        figure=lambda *_: None,
        text=lambda text, name: logged.update({name: text}),
        artifact=lambda path, name: logged.update({name: Path(path).read_text()}),
    )
    job = SimpleNamespace(settings=own.settings("wbc", crop=0.5, max_bad=0.5), cache=own.cache)
    found = _evaluate_external(job, run, "lisc", images, model, 1)
    assert list(found) == contexts == ["external/lisc"] and len(found["external/lisc"].predictions) == 15
    assert "torn.png" in logged["bad_images-external-lisc.txt"]
    assert "notes.txt" in logged["skipped-external-lisc.csv"]
    assert '"split": "external/lisc"' in logged["external/lisc/predictions.json"]
    assert "images" in logged["intervals.external/lisc"]


def test_the_full_budget_of_a_study_is_that_of_wbc():
    study, full = (StudySettings(step_budget=budget).resolved() for budget in ("study", "full"))
    assert study.training_steps(1000) < full.training_steps(1000) == WbcSettings().training_steps(1000)
    assert StudySettings(step_budget="full", steps_factor=10.0).resolved().steps_factor == 10.0
    assert StudySettings.from_strings(full.canonical()).resolved() == full
