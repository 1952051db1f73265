"""What is measured of each picture, and what stands out."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.stats import mannwhitneyu

from hemacell.audit.measurements import MEASURES, _effects, differences, measure, outliers, sharpness


@pytest.fixture(scope="module")
def pixels():
    """40 pictures of a dark disc with texture on a pale ground."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    disc = np.hypot(rows - 32, columns - 32) < 14
    pictures = np.empty((40, 64, 64, 3), np.float64)
    pictures[:] = (230, 225, 220)
    pictures[:, disc] = (100, 50, 150)
    pictures += rng.normal(0, 3, (40, 1, 1, 1)) + ndimage.gaussian_filter(
        rng.normal(0, 25, pictures.shape), (0, 1, 1, 0)
    )
    return pictures.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def table(pixels):
    return measure(pixels)


def test_each_column_is_what_it_says(pixels, table):
    assert list(table) == [*MEASURES, "grey"] and len(table) == 40
    assert table["brightness"].to_numpy() == pytest.approx(pixels.mean((1, 2, 3)) / 255)
    assert table["contrast"].to_numpy() == pytest.approx(pixels.mean(3).std((1, 2)) / 255)
    assert table["nucleus_diameter"].median() == pytest.approx(28 / 64, rel=0.1)
    assert table["glass_red"].median() == pytest.approx(0.9, abs=0.05)
    assert table["nucleus_green"].median() == pytest.approx(np.log(225 / 50), rel=0.15)
    assert not table["grey"].any()


def test_black_white_and_grey_pictures_and_none():
    found = measure(np.stack([np.full((32, 32, 3), level, np.uint8) for level in (0, 255, 128)]))
    assert found["black"].tolist() == [1, 0, 0] and found["white"].tolist() == [0, 1, 0]
    assert found["grey"].all() and found["nucleus_diameter"].isna().all()
    assert np.isfinite(found.drop(columns=[name for name in MEASURES if name.startswith("nucleus")])).all(None)
    assert measure(np.empty((0, 32, 32, 3), np.uint8)).empty


def test_blur_lowers_the_sharpness_and_contrast_does_not(pixels):
    one = pixels[0]
    blurred = ndimage.gaussian_filter(one, (2, 2, 0))
    fainter = (128 + (one.astype(float) - 128) * 0.5).astype(np.uint8)
    assert sharpness(blurred) < 0.6 * sharpness(one)
    assert sharpness(fainter) == pytest.approx(sharpness(one), rel=0.05)


def test_changed_pictures_are_the_outliers_and_the_reason_is_named(pixels):
    changed = pixels.copy()
    changed[3] = ndimage.gaussian_filter(changed[3], (3, 3, 0))
    changed[7] = (changed[7] * 0.3).astype(np.uint8)
    changed[9] = changed[9].mean(2, keepdims=True)
    assert outliers(measure(pixels)).empty
    found = outliers(measure(changed))
    assert set(found["image"]) == {3, 7, 9}
    assert found[found["image"] == 3]["reason"].str.startswith("blurred: sharpness 0.").any()
    assert found[found["image"] == 7]["reason"].str.startswith("dark: brightness").any()
    assert "without colour among coloured pictures" in set(found[found["image"] == 9]["reason"])


def test_an_image_is_compared_with_its_own_class():
    rng = np.random.default_rng(0)
    values = {name: rng.normal(0.3, 0.02, 100) for name in MEASURES}
    values["nucleus_diameter"] = np.repeat([0.2, 0.5], 50) + rng.normal(0, 0.01, 100)
    values["nucleus_diameter"][0] = 0.5
    table = pd.DataFrame(values).assign(grey=False)
    assert outliers(table).empty
    found = outliers(table, by=pd.Series(["a"] * 50 + ["b"] * 50))
    assert found["image"].tolist() == [0] and found["reason"][0].startswith("large nucleus")


def test_a_brighter_split_stands_out_and_another_mix_of_classes_does_not(table):
    split = pd.DataFrame({"split": ["train"] * 25 + ["test"] * 15})
    many = pd.concat([table] * 5, ignore_index=True)
    splits = pd.concat([split] * 5, ignore_index=True)
    brighter = many.assign(brightness=many["brightness"] + 0.2 * (splits["split"] == "test"))
    found = differences(brighter, splits)
    assert found[found["stands_out"]]["measure"].unique().tolist() == ["brightness"]
    assert found[found["stands_out"]]["reason"].str.contains("test: brightness higher than the rest").any()
    labels = splits["split"].replace({"train": "A", "test": "B"})  # the splits differ by class only
    assert not differences(brighter, splits, labels)["stands_out"].any()


def test_the_effect_is_cliffs_delta(table):
    groups = pd.DataFrame({"split": ["a"] * 12 + ["b"] * 28})
    found = differences(table, groups).query("value == 'a' and measure == 'contrast'").iloc[0]
    own, rest = table["contrast"][:12].to_numpy(), table["contrast"][12:].to_numpy()
    assert found["effect"] == pytest.approx(np.sign(own[:, None] - rest).mean())
    assert found["low"] == pytest.approx(np.quantile(own, 0.05)) and found["images"] == 12
    assert found["rest"] == pytest.approx(np.median(rest))


def test_significance_is_that_of_the_library():
    rng = np.random.default_rng(0)
    for shift in np.linspace(0, 1.5, 30):
        values = rng.normal(size=60).round(1)  # with ties
        part = np.arange(60) < 25
        values[part] += shift
        tested = mannwhitneyu(values[part], values[~part], method="asymptotic", use_continuity=False)
        (effect, significant), *_ = _effects(values, np.where(part, 0, -1), parts=1, tests=1)
        assert effect == pytest.approx(2 * tested.statistic / (25 * 35) - 1)
        assert significant == (tested.pvalue < 0.001)


def test_random_splits_raise_no_alarm():
    rng = np.random.default_rng(0)
    for _ in range(10):
        table = pd.DataFrame({name: rng.normal(0.3, 0.02, 120) for name in MEASURES}).assign(grey=False)
        groups = pd.DataFrame({"group": rng.integers(0, 6, 120)})
        assert not differences(table, groups)["stands_out"].any()


def test_pictures_are_measured_in_their_order_and_progress_reaches_their_number():
    pixels = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (40, 120, 250)])
    seen = []
    table = measure(pixels, lambda *at: seen.append(at))
    assert table["brightness"].tolist() == sorted(table["brightness"]) and seen[-1] == (3, 3)
