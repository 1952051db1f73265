"""Whole groups: against slow loops, against independent images, and in a simulation whose truth is known."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from hemacell.evaluation.classification import Acceptance, evaluate
from hemacell.evaluation.comparison.hypothesis_tests import mcnemar_p, permutation_p
from hemacell.evaluation.comparison.resampling import image_weights
from hemacell.evaluation.groups import (
    effective_images,
    group_numbers,
    intraclass_correlation,
    resampled_units,
    units_in_a_sentence,
)
from hemacell.evaluation.paired import sign_flip_p, sign_test
from hemacell.evaluation.predictions import Predictions, read_predictions, write_predictions
from hemacell.evaluation.reference_scores import compare_with_reference, reference_checks, resampled_groups
from hemacell.evaluation.selective import REVIEW_ALL, accepted, choose_confidence_threshold, effective_counts

CLASSES = ("A", "B", "C")


def answered(labels, predicted, classes=3):
    return np.full((len(labels), classes), 0.1) + (1 - 0.1 * classes) * np.eye(classes)[predicted]


def simulated(rng, groups=20, size=30, identical=True, right=0.8):
    """Labels, predictions and groups; the images of a group are all the same one, or independent of each other."""
    number = groups if identical else groups * size
    labels = rng.integers(0, 3, number)
    predicted = np.where(rng.random(number) < right, labels, (labels + 1) % 3)
    if identical:
        labels, predicted = np.repeat(labels, size), np.repeat(predicted, size)
    return labels, predicted, [f"P{n}" for n in np.repeat(np.arange(groups), size)]


def test_groups_are_numbered_where_they_say_something():
    assert group_numbers(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert group_numbers([]) is None and group_numbers(["a", "b"]) is None and group_numbers(["a", "a"]) is None


def test_weights_are_those_of_whole_groups():
    groups = ["b", "a", "b", "c", "a", "b"]
    weights = image_weights(6, 500, 0, groups)
    assert (weights[:, [0, 2, 5]] == weights[:, [0]]).all() and (weights[:, 1] == weights[:, 4]).all()
    of_groups = weights[:, [1, 0, 3]].astype(int)
    assert (of_groups.sum(1) == 3).all() and of_groups.mean(0) == pytest.approx(1, abs=0.15)
    np.testing.assert_array_equal(image_weights(6, 50, 0), image_weights(6, 50, 0, ["x"] * 6))  # one group: images


def test_resampled_groups_equal_a_loop_over_images():
    rng = np.random.default_rng(0)
    numbers, entries = rng.integers(0, 12, 200), rng.integers(0, 9, 200)
    of_groups = np.zeros((12, 9), int)
    np.add.at(of_groups, (numbers, entries), 1)
    drawn = resampled_groups(of_groups, 40, seed=1)
    weights = np.random.default_rng([1, 3]).multinomial(12, np.full(12, 1 / 12), 40)
    for row, weight in zip(drawn, weights, strict=True):
        slow = np.bincount(np.concatenate([np.repeat(e, weight[g]) for g, e in zip(numbers, entries, strict=True)]))
        np.testing.assert_array_equal(row[: len(slow)], slow)


def test_twenty_groups_of_thirty_identical_images_are_twenty_images():
    labels, predicted, groups = simulated(np.random.default_rng(3))
    p = answered(labels, predicted)
    of_groups = compare_with_reference(labels, p, CLASSES, {}, 20_000, groups=groups)
    of_twenty = compare_with_reference(labels[::30], p[::30], CLASSES, {}, 20_000)
    of_images = compare_with_reference(labels, p, CLASSES, {}, 20_000)
    for grouped, twenty, images in zip(of_groups, of_twenty, of_images, strict=True):
        assert grouped.value == pytest.approx(twenty.value)
        assert (grouped.low, grouped.high) == pytest.approx((twenty.low, twenty.high), abs=0.03), grouped.metric
        assert images.high - images.low < 0.4 * (grouped.high - grouped.low)


def test_groups_of_independent_images_change_little():
    labels, predicted, groups = simulated(np.random.default_rng(0), groups=100, size=10, identical=False)
    p = answered(labels, predicted)
    for grouped, images in zip(
        compare_with_reference(labels, p, CLASSES, {}, 5000, groups=groups),
        compare_with_reference(labels, p, CLASSES, {}, 5000),
        strict=True,
    ):
        assert 0.7 < (grouped.high - grouped.low) / (images.high - images.low) < 1.4


@pytest.mark.slow
def test_ninety_five_per_cent_of_intervals_hold_the_truth():
    """The interval over images holds it less than half of the time."""
    rng = np.random.default_rng(0)
    held = {"groups": 0, "images": 0}
    for _ in range(400):
        labels, predicted, groups = simulated(rng, groups=40, right=0.8)
        for name, given in (("groups", groups), ("images", ())):
            row = compare_with_reference(labels, answered(labels, predicted), CLASSES, {}, 400, groups=given)[1]
            held[name] += row.low <= 0.8 <= row.high
    assert 0.90 < held["groups"] / 400 < 0.98 and held["images"] / 400 < 0.5, held


# --- tests


def test_permutation_of_groups_equals_a_count_of_all_flips():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, 18), np.repeat(np.arange(6), 3)
    a = np.where(rng.random((2, 18)) < 0.8, labels, 0)
    b = np.where(rng.random((2, 18)) < 0.6, labels, 1)

    def size(flipped):
        one, other = np.where(flipped[groups], b, a), np.where(flipped[groups], a, b)
        scores = [[f1_score(labels, each, average="macro") for each in arm] for arm in (one, other)]
        return abs(np.mean(scores[0]) - np.mean(scores[1]))

    flips = [np.array(flip) for flip in itertools.product([False, True], repeat=6)]
    sizes = np.array([size(flip) for flip in flips])
    exact = (sizes >= sizes[0] - 1e-12).mean()
    p = permutation_p(labels, a, b, 3, 20_000, groups=[str(group) for group in groups])
    assert p == pytest.approx(exact, abs=0.015)


def test_identical_images_are_worth_one_in_every_test():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 15)
    a, b = (np.where(rng.random((1, 15)) < share, labels, (labels + 1) % 3) for share in (0.95, 0.6))
    many = [np.repeat(each, 20, axis=-1) for each in (labels, a, b)]
    groups = [f"{n}" for n in np.repeat(np.arange(15), 20)]
    assert permutation_p(*many, 3, 4000, groups=groups) == pytest.approx(permutation_p(labels, a, b, 3, 4000), abs=0.03)
    assert mcnemar_p(many[0], many[1][0], many[2][0], groups) == pytest.approx(mcnemar_p(labels, a[0], b[0]))
    assert mcnemar_p(many[0], many[1][0], many[2][0]) < 1e-6 < mcnemar_p(labels, a[0], b[0])


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_sign_flip_test_is_exact(one_sided):
    rng = np.random.default_rng(0)
    for _ in range(20):
        differences = rng.integers(-4, 6, 7)
        sums = np.array([(differences * signs).sum() for signs in itertools.product([1, -1], repeat=7)])
        extreme = sums >= differences.sum() if one_sided else abs(sums) >= abs(differences.sum())
        assert sign_flip_p(differences.tolist(), one_sided) == pytest.approx(extreme.mean())
    assert sign_flip_p([], one_sided) == sign_flip_p([0, 0], one_sided) == 1
    signs = [1] * 9 + [-1] * 3
    alternative = "greater" if one_sided else "two-sided"
    assert sign_flip_p(signs, one_sided) == pytest.approx(stats.binomtest(9, 12, alternative=alternative).pvalue)


def test_the_champion_is_better_on_groups_or_not_at_all():
    new, old = {f"{n}": 1.0 for n in range(40)}, {f"{n}": float(n >= 20) for n in range(40)}
    assert sign_test(new, old).is_better
    of_two = sign_test(new, old, {f"{n}": f"P{n // 20}" for n in range(40)})
    assert not of_two.is_better and of_two.groups == 2 and of_two.p_value == 0.5
    assert (
        "20 and lower on 0 of 40 shared validation images of 2 groups (one-sided exact sign-flip" in of_two.in_words()
    )
    assert sign_test(new, old, {f"{n}": f"P{n % 10}" for n in range(40)}).is_better


# --- exact limits


def test_the_correlation_is_that_of_the_analysis_of_variance():
    rng = np.random.default_rng(0)
    numbers = np.repeat(np.arange(200), 10)
    rates = rng.beta(1, 1, 200)  # the correlation is then 1 / (1 + 1 + 1)
    assert intraclass_correlation(rng.random(2000) < rates[numbers], numbers) == pytest.approx(1 / 3, abs=0.05)
    assert intraclass_correlation(rng.random(2000) < 0.3, numbers) < 0.03
    assert intraclass_correlation(np.repeat(rng.random(200) < 0.3, 10), numbers) == pytest.approx(1)
    assert intraclass_correlation(np.zeros(2000, bool), numbers) == 1


def test_images_of_groups_are_worth_fewer():
    assert effective_images(600, 20 * 30**2, 1.0) == pytest.approx(20)
    assert effective_images(600, 20 * 30**2, 0.0) == 600


def test_limits_of_identical_images_are_those_of_their_groups():
    labels, predicted, groups = simulated(np.random.default_rng(3))
    p = answered(labels, predicted)
    grouped, twenty = accepted(labels, p, 0.5, groups=groups), accepted(labels[::30], p[::30], 0.5)
    assert (grouped.accepted, twenty.accepted) == (600, 20) and grouped.effective == pytest.approx(20)
    assert grouped.error_limits == pytest.approx(twenty.error_limits)
    assert "worth 20 independent ones" in grouped.in_words()
    assert accepted(labels, p, 0.5).effective is None


def test_a_threshold_needs_groups_as_it_needs_images():
    p = np.tile([0.9, 0.1], (600, 1))
    right, groups = np.zeros(600, int), [f"{n // 30}" for n in range(600)]
    assert choose_confidence_threshold(p, right, 0.01) == 0
    assert choose_confidence_threshold(p, right, 0.01, groups) == REVIEW_ALL  # no mistake in 20 groups shows 14 %
    assert choose_confidence_threshold(p, right, 0.15, groups) == 0
    scattered = np.array([n % 199 == 0 for n in range(600)]).astype(int)  # mistakes that do not go together
    assert choose_confidence_threshold(p, scattered, 0.03, groups) == 0


def test_effective_counts_equal_a_loop():
    rng = np.random.default_rng(0)
    confidence = rng.integers(51, 99, 80) / 100
    p, labels = np.stack([confidence, 1 - confidence], 1), rng.integers(0, 2, 80)
    groups = [f"{n}" for n in rng.integers(0, 9, 80)]
    numbers = group_numbers(groups)
    rho = intraclass_correlation(labels != 0, numbers)
    slow = []
    for threshold in sorted(set(confidence), reverse=True):
        sizes = np.bincount(numbers[confidence >= threshold])
        slow.append(sizes.sum() / (1 + ((sizes**2).sum() / sizes.sum() - 1) * rho))
    assert effective_counts(labels, p, groups) == pytest.approx(slow)


# --- what is stored and said


def test_groups_are_stored_where_they_are_known(tmp_path):
    p = answered([0, 1, 2], [0, 1, 1]).astype(np.float32)
    plain = Predictions(CLASSES, "test", ("a", "b", "c"), ("1", "2", "3"), np.array([0, 1, 2]), p)
    known = Predictions(CLASSES, "test", ("a", "b", "c"), ("1", "2", "3"), np.array([0, 1, 2]), p, ("P", "P", "3"))
    for name, given in (("plain", plain), ("known", known)):
        file = write_predictions(tmp_path / name, given)
        assert read_predictions(file).groups == given.groups
        assert ('"group"' in file.read_text()) == (name == "known")
    with pytest.raises(ValueError, match="2 groups: expected equally many"):
        Predictions(CLASSES, "test", ("a", "b", "c"), ("1", "2", "3"), np.array([0, 1, 2]), p, ("P", "P"))


def test_an_evaluation_takes_the_groups_of_its_predictions():
    labels, predicted, groups = simulated(np.random.default_rng(3))
    p = answered(labels, predicted).astype(np.float32)
    names = tuple(f"{n}" for n in range(600))
    found = [
        evaluate(
            Predictions(CLASSES, "test", names, names, labels, p, given), Acceptance(0.5, p, np.zeros(600, bool)), True
        )
        for given in ((), tuple(groups))
    ]
    widths = [high - low for low, high in (each.intervals["accuracy"] for each in found)]
    assert widths[1] > 3 * widths[0] and [each.groups for each in found] == [0, 20]
    assert found[1].metrics()["accepted_error_high"] > 2 * found[0].metrics()["accepted_error_high"] * 0.6


def test_words():
    assert resampled_units(0, 1545) == "1,545 images" and resampled_units(23, 1545) == "23 groups of 1,545 images"
    assert "over images" in units_in_a_sentence(0) and "for other patients they are too narrow" in units_in_a_sentence(
        0
    )
    assert "over 23 groups" in units_in_a_sentence(23) and "too narrow" in units_in_a_sentence(23)
    assert "narrow" not in units_in_a_sentence(24) and "this group alone" in units_in_a_sentence(1)
    labels = np.arange(600) % 3
    rows = compare_with_reference(labels, answered(labels, (labels + (np.arange(600) % 7 == 0)) % 3), CLASSES, {}, 200)
    groups = [f"{n // 30}" for n in range(600)]
    assert reference_checks(labels, rows, CLASSES, groups)[0].startswith("the images are of 20 groups")
    assert reference_checks(labels, rows, CLASSES) == []
