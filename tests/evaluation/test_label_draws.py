"""Draws of cells to label: so many of each class, whole groups on either side, always the same."""

import numpy as np
import pytest

from hemacell.evaluation.label_draws import draws_of_labels, scored_classes

LABELS = np.repeat([0, 1, 2, 3], [20, 6, 3, 40])


def test_so_many_of_each_class_are_labelled_and_all_others_scored():
    for labelled, scored in draws_of_labels(LABELS, (), 5, 3):
        assert np.bincount(LABELS[labelled], minlength=4).tolist() == [5, 3, 0, 5]
        assert not set(labelled) & set(scored)
        assert sorted([*labelled, *scored]) == np.flatnonzero(LABELS != 2).tolist()
    assert scored_classes(LABELS).tolist() == [0, 1, 3]


def test_draws_differ_and_repeat():
    first, second = (draw.labelled.tolist() for draw in draws_of_labels(LABELS, (), 5, 2))
    assert first != second
    assert [first, second] == [draw.labelled.tolist() for draw in draws_of_labels(LABELS, (), 5, 2)]


def test_no_group_is_labelled_and_scored():
    groups = [f"cell {label} {number // 3}" for number, label in enumerate(LABELS)]
    for labelled, scored in draws_of_labels(LABELS, groups, 4, 3):
        of_labelled = [groups[row] for row in labelled]
        assert len(set(of_labelled)) == len(of_labelled)
        assert not set(of_labelled) & {groups[row] for row in scored}
        assert (np.bincount(LABELS[labelled], minlength=4)[[0, 3]] > 0).all()


@pytest.mark.parametrize("patients", [2, 3, 5, 12])
def test_every_class_keeps_half_of_its_patients_where_these_have_several_classes(patients):
    labels = np.tile(np.repeat([0, 1, 2], 4), patients)
    groups = [f"patient {number // 12}" for number in range(len(labels))]
    for labelled, scored in draws_of_labels(labels, groups, 5, 3):
        of_labelled, of_scored = ({groups[row] for row in rows} for rows in (labelled, scored))
        assert not of_labelled & of_scored and len(of_scored) >= patients / 2 and set(labels[scored]) == {0, 1, 2}
        assert len(labelled) == 3 * min(5, patients // 2)
