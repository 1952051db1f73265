"""Drawing and rendering of views, against numpy's turns and a pixel-by-pixel reference."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hemacell.data.augmentation import (
    AugmentationConfig,
    Augmentations,
    apply_augmentation,
    concatenate,
    dihedral_augmentation,
    dihedral_views,
    identity_augmentation,
    random_augmentation,
    stored_augmentation,
)

STILL = AugmentationConfig(zoom=1.0, shift=0.0, turn=False, stain=0.0, brightness=0.0)


def pictures(count=3, side=12, seed=0, low=1):
    """Random pixels, none of them 0: the darkest level is rendered as 1/255, so that its optical density is finite."""
    return torch.from_numpy(np.random.default_rng(seed).integers(low, 256, (count, side, side, 3), dtype=np.uint8))


def levels(rendered):
    """Rendered images as uint8 [N, H, W, 3]."""
    return (rendered * 255).round().byte().permute(0, 2, 3, 1).contiguous()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def slow_render(image, view, size, crop):
    """One pixel at a time, float64: uint8 [H, W, 3] -> [size, size, 3]."""
    side = image.shape[0]

    def mirrored(index):
        index = index % (2 * side)
        return index if index < side else 2 * side - 1 - index

    def pixel(y, x):
        return image[mirrored(y), mirrored(x)].astype(np.float64) / 255

    affine, offset = view.affine[0].double().numpy(), view.offset[0].double().numpy()
    stain, stain_bias = view.stain[0].double().numpy(), view.stain_bias[0].double().numpy()
    result = np.empty((size, size, 3))
    for row, column in itertools.product(range(size), repeat=2):
        out = np.array([(2 * column + 1) / size - 1, (2 * row + 1) / size - 1])
        x, y = ((affine @ (out * crop) + offset + 1) * side - 1) / 2
        left, top = math.floor(x), math.floor(y)
        right, below = x - left, y - top
        seen = (
            pixel(top, left) * (1 - below) * (1 - right)
            + pixel(top, left + 1) * (1 - below) * right
            + pixel(top + 1, left) * below * (1 - right)
            + pixel(top + 1, left + 1) * below * right
        )
        density = -np.log(np.clip(seen, 1 / 255, None)) @ stain + stain_bias
        result[row, column] = np.clip(np.exp(-density), 0, 1)
    return result


def test_the_identity_leaves_every_pixel():
    images = pictures()
    assert torch.equal(levels(apply_augmentation(images, identity_augmentation(3), 12)), images)


def test_the_identity_at_half_the_size_is_the_mean_of_four_pixels():
    images = pictures(side=16)
    expected = F.avg_pool2d(images.permute(0, 3, 1, 2).float() / 255, 2)
    assert torch.allclose(apply_augmentation(images, identity_augmentation(3), 8), expected, atol=1e-6)


@pytest.mark.parametrize("size", [7, 12, 29])
def test_the_identity_at_another_size_is_bilinear(size):
    images = pictures()
    expected = F.interpolate(images.permute(0, 3, 1, 2).float() / 255, (size, size), mode="bilinear")
    assert torch.allclose(apply_augmentation(images, identity_augmentation(3), size), expected, atol=1e-5)


def test_a_field_shows_the_middle():
    images = pictures(side=16)
    assert torch.equal(levels(apply_augmentation(images, identity_augmentation(3), 8, crop=0.5)), images[:, 4:12, 4:12])


@pytest.mark.parametrize(("seed", "crop", "size"), [(0, 1.0, 9), (1, 0.55, 8), (2, 0.8, 17)])
def test_rendering_equals_the_slow_reference(seed, crop, size):
    images = pictures(count=2, side=11, seed=seed, low=0)
    views = random_augmentation(2, AugmentationConfig(zoom=1.6, shift=0.3, stain=0.2, brightness=0.2), generator(seed))
    fast = apply_augmentation(images, views, size, crop)
    for number in range(2):
        slow = slow_render(images[number].numpy(), views[number : number + 1], size, crop)
        assert fast[number].permute(1, 2, 0).numpy() == pytest.approx(slow, abs=2e-5)


def test_the_result_is_channels_last():
    assert apply_augmentation(pictures(), identity_augmentation(3), 12).is_contiguous(memory_format=torch.channels_last)


def test_the_given_pixels_are_not_changed():
    images = pictures(low=0)
    before = images.clone()
    apply_augmentation(images, random_augmentation(3, AugmentationConfig(), generator()), 12)
    assert torch.equal(images, before)


@pytest.mark.parametrize("which", range(8))
def test_flips_and_turns_are_those_of_numpy(which):
    images = pictures()
    flipped = images.numpy()[:, :, ::-1] if which >= 4 else images.numpy()
    turns = which % 4 if which < 4 else -(which % 4)
    expected = np.rot90(flipped, turns, axes=(1, 2))
    assert np.array_equal(levels(apply_augmentation(images, dihedral_augmentation(3, which), 12)).numpy(), expected)


def test_the_eight_flips_and_turns_differ():
    images = pictures(count=1)
    assert (
        len(
            {
                levels(apply_augmentation(images, dihedral_augmentation(1, which), 12)).numpy().tobytes()
                for which in range(8)
            }
        )
        == 8
    )


@pytest.mark.parametrize("which", [-1, 8])
def test_there_is_no_ninth(which):
    with pytest.raises(ValueError, match=r"0\.\.7"):
        dihedral_augmentation(1, which)


def test_an_identical_stain_leaves_the_colours_and_a_lift_darkens():
    images, views = pictures(), identity_augmentation(3)
    views.stain_bias += math.log(2)  # optical densities are natural logarithms: twice as dark
    assert torch.allclose(
        apply_augmentation(images, views, 12), apply_augmentation(images, identity_augmentation(3), 12) / 2, atol=1e-6
    )


def test_a_stain_mixes_densities_column_by_column():
    images, views = pictures(count=1), identity_augmentation(1)
    views.stain = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]])
    red, green, blue = images.permute(0, 3, 1, 2)[0].float() / 255
    expected = torch.stack([red, green**2, blue * red**0.5])
    assert torch.allclose(apply_augmentation(images, views, 12)[0], expected, atol=1e-5)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    zoom=st.floats(1, 3),
    shift=st.floats(0, 1),
    stain=st.floats(0, 2),
    brightness=st.floats(0, 2),
    turn=st.booleans(),
    size=st.integers(1, 20),
    crop=st.floats(0.1, 1),
)
def test_every_view_stays_in_range(seed, zoom, shift, stain, brightness, turn, size, crop):
    drawn = AugmentationConfig(zoom=zoom, shift=shift, turn=turn, stain=stain, brightness=brightness)
    seen = apply_augmentation(pictures(2, low=0, seed=seed), random_augmentation(2, drawn, generator(seed)), size, crop)
    assert seen.shape == (2, 3, size, size) and seen.dtype == torch.float32
    assert bool(((seen >= 0) & (seen <= 1)).all())


@pytest.mark.parametrize(("first", "second"), itertools.product(range(8), repeat=2))
def test_a_turn_of_a_turn_is_rendered_at_once(first, second):
    images = pictures(count=2)
    before, after = dihedral_augmentation(2, first), dihedral_augmentation(2, second)
    twice = apply_augmentation(levels(apply_augmentation(images, before, 12)), after, 12)
    assert torch.equal(levels(apply_augmentation(images, before.then(after), 12)), levels(twice))


def test_a_view_of_a_view_of_a_smooth_picture_is_rendered_at_once():
    ramp = torch.linspace(40, 220, 64)
    images = torch.stack([ramp.expand(64, 64), ramp.unsqueeze(1).expand(64, 64), torch.full((64, 64), 130.0)], -1)
    images = images.round().byte().expand(8, 64, 64, 3)
    drawn = AugmentationConfig(zoom=1.1, shift=0.05, stain=0.05, brightness=0.05)
    before, after = random_augmentation(8, drawn, generator(1)), random_augmentation(8, drawn, generator(2))
    before.affine *= 0.5  # zoomed in, so that no mirrored border is seen
    after.affine *= 0.5
    once, twice = (
        apply_augmentation(images, before.then(after), 16),
        apply_augmentation(levels(apply_augmentation(images, before, 64)), after, 16),
    )
    assert (once - twice).abs().max() < 2 / 255
    assert (once - apply_augmentation(images, after.then(before), 16)).abs().max() > 0.05  # the order counts


def test_the_identity_before_or_after_changes_nothing():
    views, same = random_augmentation(5, AugmentationConfig(), generator()), identity_augmentation(5)
    for joined in (views.then(same), same.then(views)):
        for name in ("affine", "offset", "stain", "stain_bias"):
            assert torch.equal(getattr(joined, name), getattr(views, name))


def rows_of(views):
    parts = (views.affine, views.offset, views.stain, views.stain_bias)
    return torch.cat([part.reshape(len(views), -1) for part in parts], 1)


def test_a_stored_view_is_a_function_of_image_number_and_settings():
    drawn = AugmentationConfig()
    together = stored_augmentation(["a", "b", "c"], 3, drawn)
    torch.manual_seed(99)
    other_company = stored_augmentation(["x", "c", "a", "a"], 3, drawn)
    assert torch.equal(rows_of(together[torch.tensor([2, 0, 0])]), rows_of(other_company[1:]))
    assert not torch.equal(rows_of(together[0:1]), rows_of(together[1:2]))
    assert not torch.equal(rows_of(together), rows_of(stored_augmentation(["a", "b", "c"], 4, drawn)))
    assert not torch.equal(
        rows_of(together), rows_of(stored_augmentation(["a", "b", "c"], 3, AugmentationConfig(zoom=1.3)))
    )


def test_stored_views_leave_the_global_random_state():
    before = torch.get_rng_state()
    stored_augmentation(["a", "b"], 0, AugmentationConfig())
    assert torch.equal(torch.get_rng_state(), before)


def test_random_views_keep_to_their_settings():
    drawn = AugmentationConfig(zoom=1.3, shift=0.1, turn=True)
    views = random_augmentation(2000, drawn, generator())
    scale = torch.linalg.det(views.affine).abs() ** -0.5
    assert 1 / 1.3 - 1e-4 <= scale.min() < 0.8 and 1.25 < scale.max() <= 1.3 + 1e-4
    assert 0.19 < views.offset.abs().max() <= 0.2  # a tenth of the side, coordinates run over 2
    turned = torch.atan2(views.affine[:, 1, 1], -views.affine[:, 0, 1])  # any angle, no preference
    assert torch.histc(turned, 8, -math.pi, math.pi).min() > 150
    mirrored = torch.linalg.det(views.affine) < 0
    assert 900 < int(mirrored.sum()) < 1100


def test_quarter_turns_only_where_asked():
    views = random_augmentation(200, STILL, generator())
    assert torch.allclose(views.affine, views.affine.round(), atol=1e-6)
    eight = {tuple(dihedral_augmentation(1, which).affine.flatten().tolist()) for which in range(8)}
    drawn = {tuple(row) for row in (views.affine.round() + 0.0).flatten(1).tolist()}
    assert drawn == eight
    assert (
        torch.equal(views.stain, identity_augmentation(200).stain)
        and not views.stain_bias.any()
        and not views.offset.any()
    )


def test_concatenation_keeps_the_order():
    parts = [random_augmentation(n, AugmentationConfig(), generator(n)) for n in (1, 3)]
    joined = concatenate(parts)
    assert isinstance(joined, Augmentations) and len(joined) == 4
    assert torch.equal(rows_of(joined), torch.cat([rows_of(part) for part in parts]))


@pytest.mark.parametrize("size", [7, 8])
def test_turning_what_is_rendered_is_rendering_what_is_turned(size):
    images = pictures(3, 12)
    upright = apply_augmentation(images, identity_augmentation(3), size, 0.6)
    turned = dihedral_views(upright, 8).unflatten(0, (8, 3))
    for view in range(8):
        assert turned[view] == pytest.approx(
            apply_augmentation(images, dihedral_augmentation(3, view), size, 0.6), abs=1e-6
        )
    assert torch.equal(dihedral_views(upright, 3), turned[:3].flatten(0, 1))


@pytest.mark.parametrize("views", [0, 9])
def test_there_are_eight_turns(views):
    with pytest.raises(ValueError, match="views must be"):
        dihedral_views(torch.zeros(1, 3, 4, 4), views)
