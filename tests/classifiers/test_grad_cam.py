"""Grad-CAM against a slow one by hand: hooks, autograd, one image and one turn at a time, turned back by numpy."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hemacell.classifiers.fusion_network import FusedClassifier, mean_logits
from hemacell.classifiers.grad_cam import GradCAM, crop_mask
from hemacell.classifiers.model import ClassifierModel
from hemacell.data.augmentation import apply_augmentation, dihedral_augmentation
from tests.small_classifiers import small_config

SIZE, STORE, FIELD = 32, 36, 0.5  # 18 pixels of 36 are used, from the 9th on
TURNS = [lambda x, k=k, flip=flip: np.rot90(x[:, ::-1] if flip else x, k) for flip in (False, True) for k in range(4)]


def network(encoders=2, seed=0) -> FusedClassifier:
    torch.manual_seed(seed)
    widths = {f"e{number}": 5 + number for number in range(encoders)}
    made = FusedClassifier(3, widths, widths=(8, 8, 16, 16), blocks=(1, 2, 1, 1), projection=8)
    for projection in made.projections:
        projection.fit(torch.randn(20, len(projection.mean)) * 3 + 1)
    return made.eval()


def pictures(count=5, seed=0) -> np.ndarray:
    small = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, 6, 6))).float()
    large = F.interpolate(small, (STORE, STORE), mode="bicubic").clamp(0, 255)
    return large.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()


def turn_of(view: int) -> int:
    """Which of numpy's turns shows the same as a view."""
    picture = pictures(1, seed=9)
    seen = (
        apply_augmentation(torch.from_numpy(picture), dihedral_augmentation(1, view), STORE)[0].permute(1, 2, 0).numpy()
    )
    (found,) = [k for k, turn in enumerate(TURNS) if np.abs(turn(picture[0] / 255) - seen).max() < 0.01]
    return found


def back(number: int):
    grid = np.arange(9).reshape(3, 3)
    (found,) = [turn for turn in TURNS if (turn(TURNS[number](grid)) == grid).all()]
    return found


def slow_grad_cam(net, seen, embeddings, label) -> np.ndarray:
    """One image: the last features A, weighed by the mean gradient of the logit in each channel, where positive."""
    kept = {}
    hook = net.cell.norm.register_forward_hook(lambda module, given, result: kept.update(before=result))
    try:
        logit = mean_logits(net(seen, embeddings))[0, label]
    finally:
        hook.remove()
    # the ReLU is made again, so that its result is what the gradient is taken for
    features = F.relu(kept["before"]).detach().requires_grad_()
    cell = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
    branches = [cell, *(p(e) for p, e in zip(net.projections, embeddings, strict=True))]
    heads = [net.cell_head(cell), *(h(b) for h, b in zip(net.heads, branches[1:], strict=True))]
    if len(branches) > 1:
        heads.append(net.fused_head(torch.cat(branches, 1)))
    again = sum(head[0, label] for head in heads) / len(heads)
    assert again.item() == pytest.approx(logit.item(), abs=1e-5)
    (gradient,) = torch.autograd.grad(again, features)
    weights = gradient.mean((2, 3))[0]
    return sum(float(w) * channel for w, channel in zip(weights, features[0].detach().numpy(), strict=True)).clip(0)


def slow_heat(net, picture, label, views) -> np.ndarray:
    generator = torch.Generator().manual_seed(label)
    total = np.zeros((STORE, STORE))
    for view in range(views):
        embeddings = [torch.randn(1, len(p.mean), generator=generator) for p in net.projections]  # whatever they are
        seen = apply_augmentation(torch.from_numpy(picture[None]), dihedral_augmentation(1, view), SIZE, FIELD)
        cam = torch.from_numpy(slow_grad_cam(net, seen, embeddings, label))[None, None]
        large = F.interpolate(cam, (18, 18), mode="bilinear", align_corners=False)[0, 0].numpy()
        total[9:27, 9:27] += back(turn_of(view))(large)
    return total / total.max() if total.max() > 0 else total


@pytest.mark.parametrize(("encoders", "views"), [(2, 8), (0, 8), (1, 3)])
def test_heat_is_that_of_a_slow_grad_cam_whatever_the_embeddings(encoders, views):
    net, seen, labels = network(encoders), pictures(4), np.array([0, 2, 1, 0])
    found = GradCAM(net, SIZE, FIELD, views)(seen, labels, batch=3)
    assert found.dtype == np.float32 and found.shape == (4, STORE, STORE)
    expected = np.stack(
        [slow_heat(net, picture, int(label), views) for picture, label in zip(seen, labels, strict=True)]
    )
    assert expected.std() > 0.05 and len({picture.tobytes() for picture in expected}) == 4
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_heat_lies_in_the_field_from_0_to_1_and_asks_about_the_class():
    explain, seen = GradCAM(network(), SIZE, FIELD, 8), pictures()
    inside = np.zeros((STORE, STORE), bool)
    inside[9:27, 9:27] = True
    assert (crop_mask(STORE, FIELD) == inside).all() and crop_mask(7, 1.0).all() and crop_mask(7, 0.2).sum() == 1
    found = explain(seen, np.zeros(5, np.int64))
    assert (found[:, ~inside] == 0).all() and found.min() == 0
    assert found.max((1, 2)) == pytest.approx(np.ones(5))
    assert np.abs(found - explain(seen, np.ones(5, np.int64))).max() > 0.1


@pytest.mark.parametrize("turn", range(1, 8))
def test_a_turned_picture_has_the_turned_heat(turn):
    explain, seen, labels = GradCAM(network(), SIZE, FIELD, 8), pictures(2), np.array([1, 2])
    turned = np.stack([TURNS[turn](picture) for picture in seen])
    expected = np.stack([TURNS[turn](found) for found in explain(seen, labels)])
    np.testing.assert_allclose(explain(turned, labels), expected, atol=1e-4)


def test_where_nothing_speaks_for_a_class_the_map_is_empty():
    net = network()
    with torch.no_grad():
        net.cell_head.weight[1] = -1
        net.fused_head.weight[1] = -1
    found = GradCAM(net, SIZE, FIELD, 2)(pictures(), np.array([1, 0, 1, 2, 1]))
    assert (found[[0, 2, 4]] == 0).all() and found[1].max() == found[3].max() == 1


def test_the_network_stays_as_it_is_and_may_be_frozen():
    net, seen, labels = network(), pictures(), np.zeros(5, np.int64)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        first = GradCAM(net, SIZE, FIELD, 2)(seen, labels)
    assert not net.training and all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not [module for module in net.modules() if module._forward_hooks or module._forward_pre_hooks]
    net.requires_grad_(False)
    np.testing.assert_array_equal(GradCAM(net, SIZE, FIELD, 2)(seen, labels), first)
    read_only = seen.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(GradCAM(net, SIZE, FIELD, 2)(read_only, labels), first)
    assert GradCAM(net, SIZE, FIELD, 2)(seen[:0], labels[:0]).shape == (0, STORE, STORE)


def test_captum_is_not_needed_to_classify(monkeypatch, with_detector):
    from hemacell.tracking.registry.registration import REQUIREMENTS

    assert "captum" not in REQUIREMENTS
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    config = small_config(decoded_size=STORE, size=SIZE, crop=FIELD)
    made = with_detector(ClassifierModel(config, network(0), []))
    assert made.predict_pixels(pictures()).probabilities.shape == (5, 3)
    with pytest.raises(ImportError):
        GradCAM.of(made)(pictures(), np.zeros(5, np.int64))
