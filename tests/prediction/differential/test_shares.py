"""The differential count against known truth."""

import numpy as np
import pytest
from scipy.stats import beta

from hemacell.prediction.differential.shares import corrected_shares, differential, most_likely, raw_shares

C = 5
TRUE = np.array([0.005, 0.03, 0.30, 0.065, 0.60])


def rates(right: float, classes: int = C) -> np.ndarray:
    matrix = np.full((classes, classes), (1 - right) / (classes - 1))
    np.fill_diagonal(matrix, right)
    return matrix


def test_raw_limits_are_those_of_the_beta_distribution():
    found = raw_shares([3, 0, 97])
    np.testing.assert_allclose(found.share, [0.03, 0, 0.97])
    assert found.low[0] == pytest.approx(beta.ppf(0.025, 3, 98)) and found.high[0] == pytest.approx(
        beta.ppf(0.975, 4, 97)
    )
    # no cell of 100: the rule of three, and a half for two-sided limits
    assert found.low[1] == 0 and found.high[1] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert raw_shares([0, 7]).high[1] == 1 and raw_shares([0, 7]).low[1] == pytest.approx(0.025 ** (1 / 7))


@pytest.mark.parametrize("counts", [[5, 0, 40, 3, 152], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
def test_without_errors_the_shares_are_as_counted(counts):
    found = corrected_shares(counts, np.diag([200] * C), resamples=200)
    np.testing.assert_allclose(found.share, np.array(counts) / sum(counts), atol=1e-12)
    assert (found.low <= found.share).all() and (found.share <= found.high).all()


@pytest.mark.parametrize("right", [0.6, 0.8, 0.95])
def test_the_true_shares_come_back_where_counts_are_large(right):
    rng = np.random.default_rng(1)
    tested = np.stack([rng.multinomial(100_000, row) for row in rates(right)])
    counts = rng.multinomial(1_000_000, TRUE @ rates(right))
    found = corrected_shares(counts, tested, resamples=200)
    np.testing.assert_allclose(found.share, TRUE, atol=0.01)
    assert np.abs(counts / counts.sum() - TRUE).max() > 2 * np.abs(found.share - TRUE).max()


def test_shares_stay_in_the_simplex_where_inversion_would_leave_it():
    called = np.array([[0.0, 0.01, 0.30, 0.04, 0.65]])  # fewer of the first than its share of errors alone
    inverted = np.linalg.solve(rates(0.8).T, called[0])
    assert inverted.min() < 0
    found = most_likely(called, rates(0.8)[None])[0]
    assert found.min() >= 0 and found.sum() == pytest.approx(1)

    def likelihood(shares):
        return float(called[0] @ np.log(np.maximum(shares @ rates(0.8), 1e-300)))

    rng = np.random.default_rng(0)
    others = np.concatenate([rng.dirichlet(np.full(C, 0.3), 5000), rng.dirichlet(1 + 200 * found, 5000)])
    assert likelihood(found) >= max(map(likelihood, others)) - 1e-6


def test_many_problems_at_once_are_solved_as_each_alone():
    rng = np.random.default_rng(3)
    called, matrices = rng.dirichlet(np.ones(C), 20), np.stack([rng.dirichlet(1 + 5 * row, 20) for row in np.eye(C)], 1)
    together = most_likely(called, matrices)
    alone = np.stack([most_likely(c[None], m[None])[0] for c, m in zip(called, matrices, strict=True)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together.min() >= 0
    np.testing.assert_allclose(together.sum(1), 1)


def test_a_class_that_is_never_called_is_not_divided_by_zero():
    tested = np.array([[0, 60, 40], [0, 95, 5], [0, 10, 90]])
    found = corrected_shares([0, 50, 50], tested, resamples=200)
    assert np.isfinite([found.share, found.low, found.high]).all()
    assert found.share.sum() == pytest.approx(1) and found.share.min() >= 0
    # nothing tells how many there are, and the limits say so
    assert found.high[0] - found.low[0] > 0.5


def test_a_class_that_is_called_but_never_was_in_the_test():
    tested = np.array([[90, 10, 0], [5, 95, 0], [0, 0, 0]])
    found = corrected_shares([40, 40, 20], tested, resamples=200)
    assert found.share[2] == pytest.approx(0.2, abs=1e-6)
    assert found.low[2] < 0.2 < found.high[2]
    # called, although neither its own test images nor others were
    found = corrected_shares([40, 40, 20], np.array([[90, 10, 0], [5, 95, 0], [30, 20, 0]]), resamples=200)
    assert np.isfinite(found.share).all() and found.share.sum() == pytest.approx(1)


def test_no_cells_say_nothing():
    for found in (raw_shares([0, 0, 0]), corrected_shares([0, 0, 0], np.eye(3, dtype=int) * 9)):
        assert np.isnan(found.share).all() and (found.low == 0).all() and (found.high == 1).all()


def test_a_count_of_zero_leaves_room():
    found = corrected_shares([0, 100, 100], np.diag([100, 100, 100]))
    assert found.share[0] == 0 and found.low[0] == 0 and 0.001 < found.high[0] < 0.05


def test_the_seed_decides_and_more_cells_narrow():
    tested = np.round(200 * rates(0.9)).astype(int)
    once, again, other = (
        corrected_shares([10, 20, 90, 30, 150], tested, seed=seed, resamples=300) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(once.low, again.low)
    assert not np.array_equal(once.low, other.low)
    more = corrected_shares(np.array([10, 20, 90, 30, 150]) * 20, tested * 20, seed=4, resamples=300)
    assert ((more.high - more.low) < 0.5 * (once.high - once.low)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "tests", "cells"), [(0.98, 200, 200), (0.98, 30, 500), (0.8, 100, 200), (0.8, 100, 5000)]
)
def test_the_limits_cover_the_truth_about_as_often_as_they_say(right, tests, cells):
    """Of 150 simulated smears and tests, 95 % in the mean over classes, with the error of such a simulation."""
    rng = np.random.default_rng(7)
    covered, runs = np.zeros(C), 150
    for run in range(runs):
        tested = np.stack([rng.multinomial(tests, row) for row in rates(right)])
        counts = rng.multinomial(cells, TRUE @ rates(right))
        found = corrected_shares(counts, tested, seed=run, resamples=400)
        covered += (found.low <= TRUE) & (found.high >= TRUE)
    assert 0.91 <= (covered / runs).mean() <= 0.995, covered / runs
    assert (covered / runs).min() >= 0.85, covered / runs


def test_one_smear_with_and_without_the_classifiers_test():
    found = differential("s1", ("A", "B"), [3, 7], [1, 2], 4, np.diag([9, 9]), resamples=200)
    assert found.cells == 10 and found.unreadable == 4 and found.corrected.share.tolist() == pytest.approx([0.3, 0.7])
    assert differential("s1", ("A", "B"), [3, 7], [1, 2], 4, None).corrected is None


@pytest.mark.parametrize(("counts", "tested"), [([1, 2], np.eye(3)), ([-1, 2], np.eye(2)), ([0.5, 2], np.eye(2))])
def test_what_is_no_count(counts, tested):
    with pytest.raises(ValueError):
        corrected_shares(counts, tested)
