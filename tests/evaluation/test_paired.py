"""The paired test that decides about champions, against scipy and statsmodels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hemacell.data.manifest import COLUMNS, Manifest
from hemacell.evaluation.paired import mean_by_image, right_by_image, sign_test


def by_number(values):
    return {str(number): float(value) for number, value in enumerate(values)}


@pytest.mark.parametrize("seed", range(5))
def test_on_right_and_wrong_it_is_half_of_mcnemars_two_sided_test(seed):
    from statsmodels.stats.contingency_tables import mcnemar

    rng = np.random.default_rng(seed)
    new, old = rng.random(60) < 0.9, rng.random(60) < 0.6
    found = sign_test(by_number(new), by_number(old))
    assert (found.images, found.higher, found.lower) == (60, (new & ~old).sum(), (~new & old).sum())
    table = [[(new & old).sum(), found.higher], [found.lower, (~new & ~old).sum()]]
    assert found.higher > found.lower
    assert found.p_value == pytest.approx(mcnemar(table, exact=True).pvalue / 2)


@pytest.mark.parametrize(("higher", "better"), [(0, False), (1, False), (4, False), (5, True)])
def test_few_images_show_little(higher, better):
    found = sign_test(by_number(np.arange(50) < 50), by_number(np.arange(50) < 50 - higher))
    assert found.p_value == pytest.approx(0.5**higher) and found.is_better == better


def test_only_shared_images_count():
    assert sign_test({"a": 1, "b": 1}, {"c": 0}).images == 0
    assert not sign_test({}, {}).is_better
    assert sign_test({"a": 0.7, "b": 0.5, "c": 1}, {"a": 0.6, "b": 0.9, "d": 0}).higher == 1


def test_scores_by_image():
    cells = {"sha256": ["1", "1", "2"], "label": ["A", "A", "B"]}
    table = pd.DataFrame({name: cells.get(name, ["", "", ""]) for name in COLUMNS})
    images = Manifest(table, ("A", "B"), "made up", Path("/"))
    assert mean_by_image(images, np.array([1.0, 0.5, 0.25])) == {"1": 0.75, "2": 0.25}
    assert right_by_image(images, np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])) == {"1": 0.5, "2": 1.0}
