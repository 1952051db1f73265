"""Tests against scipy's, and against simulations in which the truth is known."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from hemacell.evaluation.comparison.hypothesis_tests import holm, mcnemar_p, permutation_p, t_interval


def simulated(rng, draws=3, images=150, classes=4, gain=0.0):
    """Labels and predictions of two arms; each arm has a way with each image that is the same in all of its draws."""
    labels = rng.integers(0, classes, images)
    difficulty = rng.normal(-0.7, 1, images)
    arms = []
    for skill in (gain, 0.0):
        way = rng.normal(0, 1.0, images)
        right = skill + way + rng.normal(0, 0.3, (draws, images)) > difficulty
        arms.append(np.where(right, labels, (labels + rng.integers(1, classes, (draws, images))) % classes))
    return labels, *arms


def mean_difference(labels, a, b):
    return np.mean(
        [f1_score(labels, x, average="macro") - f1_score(labels, y, average="macro") for x, y in zip(a, b, strict=True)]
    )


@pytest.mark.parametrize("gain", [0.0, 0.2])
def test_permutation_equals_scipys(gain):
    labels, a, b = simulated(np.random.default_rng(0), draws=2, images=40, gain=gain)

    def size(signs):  # -1: the arms of this image are flipped, in all draws
        flipped = signs < 0
        return abs(mean_difference(labels, np.where(flipped, b, a), np.where(flipped, a, b)))

    theirs = stats.permutation_test(
        (np.ones(40),),
        size,
        permutation_type="samples",
        vectorized=False,
        alternative="greater",
        n_resamples=200,
        rng=np.random.default_rng(1),
    )
    assert theirs.statistic == pytest.approx(abs(mean_difference(labels, a, b)))
    ours = permutation_p(labels, a, b, 4, permutations=20000)
    assert ours == pytest.approx(theirs.pvalue, abs=4 * np.sqrt(ours * (1 - ours) / 200) + 0.002)


def test_permutation_equals_an_exact_count_of_all_flips():
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 1])
    a = labels[None]
    b = np.array([[0, 1, 1, 2, 2, 0, 0, 1]])
    observed = abs(mean_difference(labels, a, b))
    flips = [np.array([bits >> i & 1 for i in range(8)], bool) for bits in range(256)]
    sizes = [abs(mean_difference(labels, np.where(f, b, a), np.where(f, a, b))) for f in flips]
    exact = np.mean(np.array(sizes) >= observed - 1e-12)
    assert permutation_p(labels, a, b, 3, permutations=40000) == pytest.approx(exact, abs=0.01)


def test_permutation_is_two_sided_repeatable_and_never_zero(monkeypatch):
    labels, a, b = simulated(np.random.default_rng(2), gain=2.0)
    p = permutation_p(labels, a, b, 4, permutations=400)
    assert p == permutation_p(labels, b, a, 4, permutations=400) == 1 / 401
    assert permutation_p(labels, a, a, 4) == 1.0
    labels, a, b = simulated(np.random.default_rng(3), gain=0.1)
    whole = permutation_p(labels, a, b, 4, permutations=300, seed=4)
    assert 0.001 < whole < 1
    assert whole == permutation_p(labels, a, b, 4, permutations=300, seed=4)
    assert whole != permutation_p(labels, a, b, 4, permutations=300, seed=5)
    monkeypatch.setattr("hemacell.evaluation.comparison.hypothesis_tests._FLOATS_AT_ONCE", 2000)
    assert permutation_p(labels, a, b, 4, permutations=3000) == pytest.approx(whole, abs=0.1)


@pytest.mark.slow
def test_without_an_effect_five_in_a_hundred_are_below_five_percent():
    """Flipping each draw for itself would fail here: an arm predicts an image alike in all draws."""
    rng = np.random.default_rng(0)
    p = np.array([permutation_p(*simulated(rng), 4, permutations=399, seed=i) for i in range(300)])
    for level in (0.05, 0.5):
        assert stats.binomtest(int((p <= level).sum()), 300, level).pvalue > 0.001
    strong = [permutation_p(*simulated(rng, gain=0.8), 4, permutations=399, seed=i) for i in range(20)]
    assert np.median(strong) < 0.01


def test_mcnemar_is_a_binomial_test_of_the_images_that_one_arm_alone_has_right():
    rng = np.random.default_rng(0)
    labels, a, b = (rng.integers(0, 3, 60) for _ in range(3))
    only_a, only_b = ((a == labels) & (b != labels)).sum(), ((a != labels) & (b == labels)).sum()
    assert mcnemar_p(labels, a, b) == pytest.approx(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)
    assert mcnemar_p(labels, a, b) == mcnemar_p(labels, b, a)
    assert mcnemar_p(labels, a, a) == 1.0


def test_holm_corrects_step_by_step():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == pytest.approx((1.0, 1.0))
    assert holm([0.2]) == pytest.approx((0.2,))
    assert holm([]) == ()


def test_t_interval_equals_its_definition_and_scipys():
    values = [0.81, 0.84, 0.79, 0.88]
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert t_interval(values) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert t_interval(values) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval()))
    assert t_interval([0.5]) is None
    assert t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
