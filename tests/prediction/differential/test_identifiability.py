"""What a classifier's own test cannot tell: found where it is so, not where it is not, and said in words."""

import numpy as np
import pytest

from hemacell.prediction.differential.identifiability import doubts, notes, unidentifiable_groups
from hemacell.prediction.differential.shares import corrected_shares, differential

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def good(right: float = 0.9, images: int = 200) -> np.ndarray:
    rates = np.full((5, 5), (1 - right) / 4)
    np.fill_diagonal(rates, right)
    return np.round(images * rates).astype(int)


def drawn(rates: np.ndarray, images: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.multinomial(images, row) for row in rates])


@pytest.mark.parametrize("tested", [good(), good(0.99, 100), good(0.6, 60), np.diag([9, 9]), np.diag([5, 0, 3])])
def test_a_test_that_tells_all_classes(tested):
    assert unidentifiable_groups(tested) == []


def test_classes_that_are_called_alike_and_one_that_is_never_called():
    tested = good()
    tested[1] = tested[3]
    assert unidentifiable_groups(tested) == [[1, 3]]
    tested[0] = tested[4]
    assert unidentifiable_groups(tested) == [[0, 4], [1, 3]]
    # a mixture of others cannot be told from these, as exact solutions of p P = q show
    tested = np.array([[0, 60, 40], [0, 95, 5], [0, 10, 90]])
    assert unidentifiable_groups(tested) == [[0, 1, 2]]
    rates = tested / 100
    one = np.array([0.3, 0.3, 0.4])
    other = one - 0.2 * np.array([1, -10 / 17, -7 / 17])
    np.testing.assert_allclose(one @ rates, other @ rates)
    # only one of the others is like it
    assert unidentifiable_groups([[0, 100, 0], [0, 100, 0], [0, 0, 100]]) == [[0, 1]]


def test_the_error_of_a_small_test_counts():
    """The same rates are told apart with 2000 images per class and not with 20; equal ones hardly ever."""
    rates = np.array([[0.55, 0.45, 0.0], [0.45, 0.55, 0.0], [0.05, 0.05, 0.9]])
    few = [bool(unidentifiable_groups(drawn(rates, 20, seed))) for seed in range(200)]
    many = [bool(unidentifiable_groups(drawn(rates, 2000, seed))) for seed in range(200)]
    assert np.mean(few) > 0.9 and np.mean(many) < 0.15
    rates[1] = rates[0]
    found = [unidentifiable_groups(drawn(rates, 300, seed)) for seed in range(200)]
    assert np.mean([each == [[0, 1]] for each in found]) > 0.97
    # and the limits of what cannot be told apart are wide
    limits = corrected_shares([50, 50, 100], drawn(rates, 300, 1), resamples=300)
    assert (limits.high - limits.low)[:2].min() > 0.4


def test_sentences_name_the_classes():
    assert doubts(CLASSES, good()) == []
    tested = good()
    tested[0], tested[1], tested[2] = 0, [0, 0, 0, 12, 0], [3, 0, 9, 0, 0]
    lines = "\n".join(doubts(CLASSES, tested))
    assert "no image of Basophil:" in lines and "fewer than 30 images of Eosinophil (12), Lymphocyte (12):" in lines
    assert "never recognised Eosinophil." in lines and "does not tell Eosinophil, Monocyte apart" in lines
    assert "Neutrophil" not in lines


def test_notes_stand_beside_the_classes_that_they_are_of():
    tested = good()
    tested[3], tested[4] = tested[1], [0, 0, 0, 0, 7]
    count = differential("s", CLASSES, [1, 2, 3, 4, 5], [0] * 5, 0, tested, resamples=50)
    basophil, eosinophil, lymphocyte, monocyte, neutrophil = notes(count, tested)
    assert basophil == lymphocyte == ""
    assert "does not tell it from Monocyte: its share cannot be known" in eosinophil
    assert "does not tell it from Eosinophil" in monocyte and neutrophil == "only 7 test images of this class"
    assert set(notes(count, None)) == {"not corrected: the classifier's own test is not known"}
    none = differential("s", CLASSES, [0] * 5, [0] * 5, 4, tested, resamples=50)
    assert set(notes(none, tested)) == {"no cell could be read: any share is possible"}
