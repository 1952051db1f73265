"""The task of the patches, against one patch at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import nn

from hemacell.data.augmentation import AugmentationConfig, apply_augmentation, dihedral_augmentation
from hemacell.data.balance import sampler_weights
from hemacell.encoders.timm_backbone import Backbone, create_backbone
from hemacell.training.tasks.patches import PatchTask, patch_probabilities

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(1, 256, (10, 32, 32, 3), dtype=np.uint8)
ROWS, LABELS = np.array([3, 0, 9, 5, 7, 1]), np.array([0, 1, 1, 0, 0, 0])
VAL_ROWS, VAL_LABELS = np.array([2, 4, 6, 8]), np.array([0, 1, 1, 1])
STILL = AugmentationConfig(zoom=1.0, shift=0.0, turn=False, stain=0.0, brightness=0.0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Backbone(create_backbone("test_efficientnet", "none", classes=2)).eval()


def task(augmentation=STILL, **changes):
    wanted = {"size": 32, "batch_size": 6, "seed": 0, "augmentation": augmentation, "precision": "float32"}
    return PatchTask(PIXELS, ROWS, LABELS, VAL_ROWS, VAL_LABELS, **(wanted | changes))


def slowly(network, rows, size, views):
    result = []
    with torch.no_grad():
        for row in rows:
            image = torch.from_numpy(PIXELS[row : row + 1])
            each = [
                network(apply_augmentation(image, dihedral_augmentation(1, view), size))[0].softmax(0)
                for view in range(views)
            ]
            result.append(torch.stack(each).mean(0).numpy())
    return np.array(result)


@pytest.mark.parametrize(("views", "size", "batch"), [(1, 32, 128), (8, 32, 3), (3, 48, 4)])
def test_probabilities_are_the_mean_over_views_of_each_patch(network, views, size, batch):
    found = patch_probabilities(network, PIXELS, ROWS, size, views, "float32", batch)
    assert found.dtype == np.float32 and found == pytest.approx(slowly(network, ROWS, size, views), abs=1e-5)


def test_validation_metrics_are_those_of_scikit_learn(network):
    probabilities = slowly(network, VAL_ROWS, 32, 1)
    found = task().validate(network)
    assert found.keys() == {"val/loss", "val/accuracy", "val/macro_f1"} and PatchTask.monitor in found
    assert found["val/accuracy"] == (probabilities.argmax(1) == VAL_LABELS).mean()
    assert found["val/macro_f1"] == f1_score(VAL_LABELS, probabilities.argmax(1), average="macro", zero_division=0)
    assert found["val/loss"] == pytest.approx(-np.log(probabilities[np.arange(4), VAL_LABELS]).mean(), rel=1e-5)


class Notes(nn.Module):
    """Keeps the images and returns fixed logits."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return torch.stack([images[:, 0].mean((1, 2)) * 5, images[:, 1].mean((1, 2)) * -3], 1)


@pytest.mark.parametrize("weights", [None, np.array([0.25, 3.0])])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_loss_is_the_cross_entropy_of_the_chosen_patches(weights, label_smoothing):
    notes, made = Notes(), task(class_weights=weights, label_smoothing=label_smoothing)
    for step in range(2):
        found = made.loss(notes, step)
        chosen = made.order(step).numpy()
        assert sorted(chosen.tolist()) == [0, 1, 2, 3, 4, 5]
        for image, place in zip(notes.seen[-1], chosen, strict=True):
            turns = [
                apply_augmentation(torch.from_numpy(PIXELS[ROWS[place]][None]), dihedral_augmentation(1, k), 32)[0]
                for k in range(8)
            ]
            assert min(float((image - each).abs().max()) for each in turns) < 1e-5
        given = None if weights is None else torch.tensor(weights).float()
        expected = F.cross_entropy(
            notes(notes.seen[-1]), torch.from_numpy(LABELS[chosen]), given, label_smoothing=label_smoothing
        )
        assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_views_follow_from_seed_and_step():
    notes, drawn = Notes(), AugmentationConfig()
    for seed, step in [(0, 0), (0, 1), (0, 0), (1, 0)]:
        task(drawn, seed=seed).loss(notes, step)
    first, next_step, again, other_seed = notes.seen
    assert torch.equal(first, again)
    assert not torch.equal(first, next_step) and not torch.equal(first, other_seed)


def test_the_sampler_draws_both_classes_equally_often():
    made = task(batch_size=100, sampler_weights=sampler_weights(LABELS))
    drawn = np.concatenate([LABELS[made.order(step).numpy()] for step in range(20)])
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
