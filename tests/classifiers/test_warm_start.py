"""Starting from a classifier that was trained before."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hemacell.classifiers.description import TRAINED_ON, WEIGHTS
from hemacell.classifiers.folder import save_folder
from hemacell.classifiers.methods import METHODS
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.classifiers.warm_start import warm_start
from hemacell.core.errors import UserError
from hemacell.encoders.frozen import EncoderConfig, create_encoder
from tests.small_classifiers import small_config

ENCODER = create_encoder(
    EncoderConfig(kind="autoencoder", body={"widths": [8, 8], "latent_channels": 2}, input_size=16)
)


def config(*encoders, **changes):
    network = {"widths": changes.pop("widths", [8, 8, 8, 8]), "blocks": [1, 1, 1, 1], "projection": 8}
    wanted = {"classes": ("a", "b"), "confidence_threshold": 0.5, "hyperparameters": network}
    return small_config(**(wanted | changes), encoders=encoders)


def made(wanted, seed=0):
    torch.manual_seed(seed)
    network = METHODS["fusion"].build(wanted, [ENCODER.width] * len(wanted.encoders))
    for scale in network.standardisers:
        scale.fit(torch.randn(9, ENCODER.width) + seed)
    return network


def saved(folder, wanted, seed=0, trained_on=("x", "y")):
    network = made(wanted, seed)
    detector = MahalanobisDetector.fit(np.zeros((1, 3)), np.zeros(1, int))  # not used here
    model = ClassifierModel(wanted, network, [ENCODER] * len(wanted.encoders), detector)
    save_folder(folder, model, trained_on)
    return network.state_dict()


def same(name, one, other):
    return torch.equal(one[name], other[name])


def test_the_same_network_is_taken_over_whole(tmp_path):
    stored = saved(tmp_path, config("prcc"))
    network = made(config("prcc"), seed=1)
    warm_start(network, tmp_path, {"x", "y", "z"})
    assert all(same(name, network.state_dict(), stored) for name in stored)


def test_with_other_encoders_the_cell_network_is_taken_over(tmp_path):
    stored = saved(tmp_path, config())
    network = made(config("prcc"), seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    warm_start(network, tmp_path, {"x", "y"})
    after = network.state_dict()
    assert all(same(name, after, stored) for name in stored)
    assert all(same(name, after, before) for name in after if name not in stored)


def test_without_encoders_the_rest_is_left_out(tmp_path):
    stored = saved(tmp_path, config("prcc", "camelyon"))
    network = made(config(), seed=1)
    warm_start(network, tmp_path, {"x", "y"})
    assert all(same(name, network.state_dict(), stored) for name in network.state_dict())


def test_other_classes_get_heads_of_their_own(tmp_path):
    stored = saved(tmp_path, config())
    network = made(config(classes=("a", "b", "c")), seed=1)
    head = network.cell_head.weight.clone()
    warm_start(network, tmp_path, {"x", "y"})
    assert same("cell.stem.weight", network.state_dict(), stored)
    assert torch.equal(network.cell_head.weight, head)


def test_what_belongs_to_another_encoder_of_the_same_width_is_not_taken(tmp_path):
    """Its means and deviations would make nonsense of these embeddings."""
    stored = saved(tmp_path, config("imagenet"))
    network = made(config("random-imagenet"), seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    warm_start(network, tmp_path, {"x", "y"})
    after = network.state_dict()
    for name in after:
        assert same(name, after, stored if name.startswith("cell") else before), name


def test_a_model_that_saw_images_outside_this_draw_is_refused(tmp_path):
    saved(tmp_path, config(), trained_on=("x", "y", "val1", "test1"))
    network = made(config(), seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match="learnt from 2 of 4 images that are not in this draw"):
        warm_start(network, tmp_path, {"x", "y", "z"})
    assert all(same(name, network.state_dict(), before) for name in before)


def test_another_cell_network_is_refused(tmp_path):
    saved(tmp_path, config(widths=(8, 8, 16, 16)))
    network = made(config(), seed=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match="another cell network"):
        warm_start(network, tmp_path, {"x", "y"})
    assert all(same(name, network.state_dict(), before) for name in before)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / TRAINED_ON).unlink(),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / TRAINED_ON).write_text("{"),
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:500]),
    ],
)
def test_a_folder_without_a_classifier_is_refused_in_one_line(spoil, tmp_path):
    saved(tmp_path, config())
    spoil(tmp_path)
    with pytest.raises(UserError, match="init_from: expected a registered classifier") as caught:
        warm_start(made(config()), tmp_path, {"x", "y"})
    assert "\n" not in str(caught.value) and "None" not in str(caught.value)


def test_a_classifier_of_another_method_is_refused(tmp_path):
    saved(tmp_path, config())
    description = (tmp_path / "classifier.json").read_text().replace('"fusion"', '"knn"')
    (tmp_path / "classifier.json").write_text(description)
    with pytest.raises(UserError, match="method=knn"):
        warm_start(made(config()), tmp_path, {"x", "y"})


def test_an_encoder_is_no_classifier(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "encoder.safetensors")
    with pytest.raises(UserError, match="init_from: expected a registered classifier"):
        warm_start(made(config()), tmp_path, set())
