"""The task of the cells: what belongs together stays together, and the losses are torch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import nn

from hemacell.classifiers import cell_task as module
from hemacell.classifiers.cell_task import CellTask, training_augmentation
from hemacell.classifiers.cells import CellImages, cell_images
from hemacell.classifiers.fusion_network import FusedClassifier
from hemacell.classifiers.model import ClassifierModel
from hemacell.data.augmentation import (
    AugmentationConfig,
    apply_augmentation,
    concatenate,
    dihedral_augmentation,
    identity_augmentation,
    random_augmentation,
    stored_augmentation,
)
from hemacell.data.balance import sampler_weights
from hemacell.data.decoding import Decoded
from hemacell.data.manifest import Manifest, Row
from hemacell.encoders.embeddings import StoredViews
from hemacell.encoders.frozen import EncoderConfig, create_encoder
from hemacell.training.loop import LoopSettings, fit
from tests.small_classifiers import small_config

WIDTHS = {"prcc": 3, "camelyon": 2}
COUNT, VIEWS = 10, 3
#: Image i is grey, of a level that tells i.
PIXELS = np.repeat(np.arange(60, 60 + 15 * 12, 15, dtype=np.uint8), 16 * 16 * 3).reshape(12, 16, 16, 3)
TRAIN_ROWS = np.array([11, 3, 5, 0, 7, 1, 9, 2, 8, 4])
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 0, 0, 0])


def labelled(number, view, width):
    """An embedding that says whose it is."""
    return np.full(width, 100 * view + number, np.float32)


def cells(rows=TRAIN_ROWS, labels=LABELS, views=VIEWS):
    embeddings = [
        np.stack([[labelled(number, view, width) for view in range(views)] for number in range(len(rows))])
        for width in WIDTHS.values()
    ]
    return CellImages(rows, labels, embeddings)


def darker_views():
    """View k of every image has its optical densities raised by k / 2."""
    parts = [identity_augmentation(COUNT) for _ in range(VIEWS)]
    for number, part in enumerate(parts):
        part.stain_bias += number / 2
    return concatenate(parts)


JITTER = AugmentationConfig(zoom=1.1, shift=0.02, stain=0.05, brightness=0.02)


def task(**changes):
    wanted = {"size": 16, "crop": 1.0, "batch_size": 8, "seed": 0, "jitter": JITTER, "precision": "float32"}
    return CellTask(PIXELS, cells(), cells(np.array([6, 10]), np.array([1, 2])), darker_views(), **(wanted | changes))


class Notes(nn.Module):
    """Stands for the network and keeps what it was given."""

    def __init__(self, classes=3):
        super().__init__()
        self.classes, self.seen = classes, []

    def forward(self, images, embeddings):
        self.seen.append((images, embeddings))
        return [torch.zeros(len(images), self.classes)]


@pytest.mark.parametrize("seed", range(3))
def test_image_view_embedding_and_label_belong_together(seed, monkeypatch):
    notes, labels = Notes(), []
    made = task(seed=seed)
    monkeypatch.setattr(made, "heads_loss", lambda logits, given: labels.append(given))
    for step in range(5):
        made.loss(notes, step)
    views = set()
    for (images, embeddings), given in zip(notes.seen, labels, strict=True):
        assert images.shape == (8, 3, 16, 16) and [each.shape for each in embeddings] == [(8, 3), (8, 2)]
        for place in range(8):
            said = int(embeddings[0][place, 0])
            assert all(bool((each[place] == said).all()) for each in embeddings)
            view, number = divmod(said, 100)
            views.add(view)
            assert int(given[place]) == LABELS[number]
            density = -np.log(PIXELS[TRAIN_ROWS[number], 0, 0, 0] / 255) + view / 2
            shown = -float(images[place].log().mean())
            assert shown == pytest.approx(density, abs=0.05 + 0.15 * density)  # the jitter is small
    assert views == {0, 1, 2}


def test_the_jitter_is_drawn_anew_and_follows_from_seed_and_step():
    def shown(seed, *steps):
        notes, made = Notes(), task(seed=seed, batch_size=COUNT)
        for step in steps:
            made.loss(notes, step)
        return [images for images, _ in notes.seen]

    first, second = shown(0, 0, 1)
    assert torch.equal(shown(0, 5, 1)[1], second)
    assert not torch.equal(first, second) and not torch.equal(shown(1, 0)[0], first)


def test_the_cell_network_is_shown_the_stored_view_and_the_jitter_on_top(monkeypatch):
    pixels = np.random.default_rng(0).integers(1, 256, (12, 24, 24, 3), dtype=np.uint8)
    views = random_augmentation(COUNT * VIEWS, AugmentationConfig(), torch.Generator().manual_seed(0))
    jitter = random_augmentation(8, JITTER, torch.Generator().manual_seed(1))
    sizes = {"size": 16, "crop": 0.6, "batch_size": 8}
    made = CellTask(pixels, cells(), cells(), views, **sizes, seed=0, jitter=JITTER, precision="float32")
    for wanted in (identity_augmentation(8), jitter):
        monkeypatch.setattr(module, "random_augmentation", lambda *_, wanted=wanted: wanted)
        notes = Notes()
        made.loss(notes, 0)
        ((images, embeddings),) = notes.seen
        view, number = np.divmod(embeddings[0][:, 0].int().numpy(), 100)
        stored = views[torch.from_numpy(view * COUNT + number).long()]
        expected = apply_augmentation(torch.from_numpy(pixels[TRAIN_ROWS[number]]), stored.then(wanted), 16, 0.6)
        assert torch.equal(images, expected)


def test_training_views_are_ordered_view_after_view():
    drawn = AugmentationConfig(zoom=1.4)
    views = training_augmentation(["sha0", "sha1", "sha2"], StoredViews(2, True, drawn))
    for view in range(2):
        expected = stored_augmentation(["sha0", "sha1", "sha2"], view, drawn)
        assert torch.equal(views.affine[3 * view : 3 * view + 3], expected.affine)
    assert len(views) == 6


def test_cells_of_a_split_come_with_their_embeddings(tmp_path):
    rows = [Row(f"/{n}.png", "ab"[n % 2], "train", str(n), "", f"sha{n}", "original") for n in range(5)]
    manifest = Manifest.from_rows(rows, ("a", "b"), "cells", "/")
    decoded = Decoded(PIXELS[:5], manifest, [], np.arange(5))
    encoder = create_encoder(
        EncoderConfig(kind="autoencoder", body={"widths": [8, 8], "latent_channels": 2}, input_size=16, crop=0.5)
    )
    said = []
    wanted = StoredViews(2, False)

    def progress(what):
        said.append(what)
        return lambda done, missing: said.append((done, missing))

    part = manifest.select([4, 1])
    found = cell_images(decoded, part, [encoder, encoder], wanted, tmp_path, "float32", progress)
    assert found.rows.tolist() == [4, 1] and found.labels.tolist() == [0, 1] and len(found) == 2
    expected = encoder(apply_augmentation(torch.from_numpy(PIXELS[[4, 1]]), dihedral_augmentation(2, 1), 16, 0.5))
    assert len(found.embeddings) == 2
    assert found.embeddings[0][:, 1] == pytest.approx(expected.numpy(), abs=1e-5)
    assert said[0] == "cells" and (4, 4) in said


def test_cells_can_be_chosen_more_than_once():
    chosen = cells().select(np.array([2, 2, 9]))
    assert chosen.rows.tolist() == [5, 5, 4] and chosen.labels.tolist() == [2, 2, 0]
    assert [each[:, 1, 0].tolist() for each in chosen.embeddings] == [[102, 102, 109]] * 2
    everything = cells()
    assert everything.select(np.arange(COUNT)) is everything


def logits(heads, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 3, generator=draw) * 3 for _ in range(heads)]


GIVEN = torch.tensor([0, 2, 1, 1, 0, 2])


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0, 1.0])])
def test_one_head_has_the_cross_entropy_of_torch(label_smoothing, weights):
    (head,) = logits(1)
    found = task(label_smoothing=label_smoothing, class_weights=weights).heads_loss([head], GIVEN)
    given = None if weights is None else torch.tensor(weights).float()
    expected = nn.CrossEntropyLoss(weight=given, label_smoothing=label_smoothing)(head, GIVEN)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_smoothing_and_weights_written_out():
    (head,) = logits(1)
    weights = np.array([0.5, 2.0, 1.0])
    logs, targets = head.double().log_softmax(1).numpy(), np.eye(3)[GIVEN.numpy()]
    smooth = 0.9 * targets + 0.1 / 3
    found = task(label_smoothing=0.1).heads_loss([head], GIVEN)
    assert float(found) == pytest.approx(-(smooth * logs).sum(1).mean(), rel=1e-5)
    found = task(label_smoothing=0.0, class_weights=weights).heads_loss([head], GIVEN)
    each = weights[GIVEN.numpy()]
    assert float(found) == pytest.approx(-(each * (targets * logs).sum(1)).sum() / each.sum(), rel=1e-5)


@pytest.mark.parametrize("own", [0.0, 0.3, 1.0])
def test_the_common_head_counts_whole_and_the_others_in_the_mean(own):
    heads = logits(4)
    each = [float(F.cross_entropy(head, GIVEN, label_smoothing=0.1)) for head in heads]
    found = task(auxiliary_loss_weight=own).heads_loss(heads, GIVEN)
    assert float(found) == pytest.approx(each[3] + own * sum(each[:3]) / 3, rel=1e-5)


def test_the_loss_is_computed_in_float32():
    assert task().heads_loss([head.bfloat16() for head in logits(2)], GIVEN).dtype == torch.float32


def test_the_sampler_draws_every_class_equally_often():
    notes, given = Notes(), []
    made = task(batch_size=50, sampler_weights=sampler_weights(LABELS))
    made.heads_loss = lambda heads, labels: given.append(labels)
    for step in range(30):
        made.loss(notes, step)
    shares = np.bincount(torch.cat(given).numpy()) / 1500
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05)
    assert np.bincount(LABELS)[0] / COUNT == 0.6


def network():
    torch.manual_seed(0)
    return FusedClassifier(3, WIDTHS, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), projection=8)


def test_validation_metrics_are_those_of_scikit_learn():
    made, used = task(), network().eval()
    config = small_config(decoded_size=16, crop=1.0, views=1)
    probabilities = ClassifierModel(config, used, []).from_embeddings(PIXELS, made.val.rows, made.val.embeddings)
    labels, predicted = made.val.labels, probabilities.argmax(1)
    found = made.validate(used)
    assert found.keys() == {"val/loss", "val/accuracy", "val/macro_f1"} and made.monitor in found
    assert found["val/accuracy"] == (predicted == labels).mean()
    assert found["val/macro_f1"] == f1_score(labels, predicted, average="macro", zero_division=0)
    assert found["val/loss"] == pytest.approx(-np.log(probabilities[[0, 1], labels]).mean(), rel=1e-5)


def test_an_interrupted_training_of_cells_ends_with_the_very_same_weights(tmp_path):
    """The whole of it: stored views, jitter, sampler, dropout of branches and of embeddings, bfloat16."""

    def stop(done, steps, loss):
        if done == 4:
            raise InterruptedError

    wanted = LoopSettings(steps=6, learning_rate=0.01, num_evals=2, device="cpu", checkpoint_seconds=0.0)
    made = task(sampler_weights=sampler_weights(LABELS), precision="bf16")
    whole = fit(made, network(), wanted)
    file = tmp_path / "x.safetensors"
    with pytest.raises(InterruptedError):
        fit(made, network(), wanted, progress=stop, checkpoint=file)
    resumed = fit(task(sampler_weights=sampler_weights(LABELS), precision="bf16"), network(), wanted, checkpoint=file)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
