"""Framed pictures: the cell in the middle, at one scale, over white glass, wherever it lay and whatever the light."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hemacell.framing.description import MARGIN, Framing, Site
from hemacell.framing.frame import (
    CUT_OFF,
    FRAMING_VERSION,
    MOST_GAIN,
    NO_NUCLEUS,
    TWO_NUCLEI,
    Window,
    cut,
    cut_mask,
    frame,
    recoloured,
    stain_gain,
    window_of,
)
from hemacell.framing.site import estimate_site, measured

GLASS = (245, 225, 205)
FRAMING = Framing(field=2.0)


def cell(size=(240, 200), at=(120, 100), radius=30, glass=GLASS) -> Image.Image:
    """A violet nucleus in a pale cell."""
    image = Image.new("RGB", size, glass)
    draw = ImageDraw.Draw(image)
    for factor, colour in ((1.6, (205, 190, 215)), (1.0, (95, 45, 130))):
        r = radius * factor
        tinted = tuple(round(c * g / 255) for c, g in zip(colour, glass, strict=True))
        draw.ellipse([at[0] - r, at[1] - r, at[0] + r, at[1] + r], fill=tinted)
    return image


def site_of(*images: Image.Image) -> Site:
    return estimate_site([measured(image) for image in images])


def nucleus_box(pixels: np.ndarray) -> tuple[float, float, float]:
    """Centre (x, y) and diameter of what is dark, in sides."""
    dark = pixels[..., 1] < 110
    ys, xs = np.nonzero(dark)
    return xs.mean() / len(dark), ys.mean() / len(dark), 2 * np.sqrt(dark.mean() / np.pi)


@pytest.mark.parametrize("at", [(120, 100), (95, 120), (140, 85)])
@pytest.mark.parametrize("scale", [1, 2, 0.7])
def test_the_nucleus_is_in_the_middle_at_one_size(at, scale):
    size = tuple(round(side * scale) for side in (240, 200))
    image = cell().resize(size) if at == (120, 100) else cell(at=at).resize(size)
    framed = frame(image, site_of(image), FRAMING, 96)
    x, y, diameter = nucleus_box(framed.pixels)
    assert framed.why == "" and framed.pixels.shape == (96, 96, 3) and framed.pixels.dtype == np.uint8
    assert (x, y) == pytest.approx((0.5, 0.5), abs=0.02)
    assert diameter == pytest.approx(1 / (FRAMING.field * MARGIN), rel=0.05)


def test_the_scale_is_the_laboratorys_and_not_the_pictures():
    small, large = cell(radius=20), cell(radius=40)
    site = site_of(small, cell(radius=28), large)
    found = [nucleus_box(frame(image, site, FRAMING, 128).pixels)[2] for image in (small, large)]
    assert found[1] / found[0] == pytest.approx(2, rel=0.05)


def test_the_light_of_the_laboratory_drops_out():
    white = frame(cell(glass=(255, 255, 255)), site_of(cell()), FRAMING, 96).pixels.astype(int)
    for glass in (GLASS, (150, 190, 230), (250, 240, 160)):
        other = frame(cell(glass=glass), site_of(cell()), FRAMING, 96).pixels.astype(int)
        assert np.quantile(np.abs(other - white), 0.999) <= 12 and np.abs(other - white).mean() < 2
    plain = frame(cell(), site_of(cell()), Framing(field=2.0, glass=False), 96).pixels
    assert tuple(plain[0, 0]) == GLASS


def test_turned_pictures_are_framed_alike():
    image = cell(at=(100, 110))
    site = site_of(image)
    upright = frame(image, site, FRAMING, 64).pixels.astype(int)
    turned = frame(image.transpose(Image.Transpose.ROTATE_90), site, FRAMING, 64).pixels.astype(int)
    assert np.abs(np.rot90(upright) - turned).mean() < 2


@pytest.mark.parametrize("colour", ["white", "black", (128, 90, 160)])
def test_without_a_nucleus_the_middle_is_used(colour):
    image = Image.new("RGB", (80, 60), colour)
    framed = frame(image, site_of(cell()), FRAMING, 32)
    assert framed.why == NO_NUCLEUS and framed.pixels.shape == (32, 32, 3)
    square = 60
    window = window_of(image.size, None, site_of(cell()), FRAMING)
    assert window.left + window.side / 2 == pytest.approx(40) and window.top + window.side / 2 == pytest.approx(30)
    assert window.side == pytest.approx(FRAMING.field * MARGIN * site_of(cell()).share(square) * square)


def test_what_is_wrong_with_a_picture_is_said():
    found = measured(cell())
    site = site_of(cell())
    for changed, why in (({}, ""), ({"is_cut_off": True}, CUT_OFF), ({"has_neighbour": True}, TWO_NUCLEI)):
        assert frame(cell(), site, FRAMING, 32, found._replace(**changed)).why == why


def test_a_window_is_what_pillow_cuts():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    whole = cut(noise, Window(5, 7, 30), 30)
    assert np.array_equal(whole, np.asarray(noise)[7:37, 5:35])
    half = cut(noise, Window(10, 4, 40), 20).astype(int)
    expected = np.asarray(noise.resize((20, 20), Image.Resampling.BILINEAR, box=(10, 4, 50, 44))).astype(int)
    assert np.abs(half - expected).max() <= 1


def test_what_lies_outside_mirrors_the_picture_as_often_as_it_takes():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(np.stack([picture] * 3, -1))
    around = cut(image, Window(-4, -4, 12), 12)[..., 0]
    padded = np.pad(picture, ((4, 5), (4, 4)), mode="symmetric")
    assert np.array_equal(around, padded[:12, :12])


def test_large_pictures_are_reduced_first_and_look_the_same():
    large = cell((2400, 2000), (1200, 1000), 300)
    small = cell((240, 200), (120, 100), 30)
    site = site_of(small)
    apart = np.abs(frame(large, site, FRAMING, 48).pixels.astype(int) - frame(small, site, FRAMING, 48).pixels)
    assert apart.mean() < 2


def test_masks_follow_their_pictures_and_end_with_them():
    inside = np.asarray(cell().convert("L")) < 110
    window = window_of((240, 200), measured(cell()).center, site_of(cell()), FRAMING)
    mask = cut_mask(inside, window, 96)
    pixels = frame(cell(), site_of(cell()), FRAMING, 96).pixels
    assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1
    assert np.mean((mask > 0.5) == (pixels[..., 1] < 110)) > 0.99
    beyond = cut_mask(np.ones((10, 10), bool), Window(-10, -10, 30), 30)
    assert beyond[10:20, 10:20].all() and beyond.sum() == 100


def test_dividing_by_glass_is_exact_and_never_brighter_than_white():
    levels = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    found = recoloured(levels, np.array([255.0, 200.0, 0.0]), np.ones(3))
    assert np.array_equal(found[:, 0], levels[:, 0])
    assert np.array_equal(found[:, 1], np.minimum(np.round(np.arange(256) * 255 / 200), 255))
    assert found[1:, 2].min() == 255 and found[0, 2] == 0


def test_the_stain_is_brought_to_that_of_the_training():
    dark = np.asarray(cell(glass=(255, 255, 255))).astype(float) / 255
    pale = Image.fromarray(np.round(255 * dark**0.5).astype(np.uint8))  # half the optical density
    training = site_of(cell(glass=(255, 255, 255)))
    framing = FRAMING.model_copy(update={"density": training.density})
    expected = frame(cell(glass=(255, 255, 255)), training, framing, 96).pixels.astype(int)
    found = frame(pale, site_of(pale), framing, 96).pixels.astype(int)
    assert stain_gain(site_of(pale), framing) == pytest.approx([2, 2, 2], rel=0.06)
    assert np.abs(found - expected).mean() < 2
    assert np.array_equal(stain_gain(training, framing), np.ones(3))
    faint = training.model_copy(update={"density": (0.02, 0.02, 0.02)})
    assert stain_gain(faint, framing).max() == MOST_GAIN


def test_the_pixels_of_this_version():
    """Where this fails because pictures are to be framed otherwise, raise `FRAMING_VERSION`: stored ones rest on it."""
    image = cell((210, 180), (97, 88), 27)
    site = site_of(image, cell(radius=22), cell(radius=35))
    framed = frame(image, site, Framing(field=1.6, density=(0.9, 1.6, 0.5)), 40).pixels
    expected = {1: [[255, 255, 255], [188, 167, 211], [101, 49, 153], [208, 193, 224], [255, 255, 255]]}
    found = [framed[row, column].tolist() for row, column in ((0, 0), (12, 20), (20, 20), (20, 29), (33, 8))]
    assert np.abs(np.subtract(found, expected[FRAMING_VERSION])).max() <= 2
