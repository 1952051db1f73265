"""Counts of a table that is read in chunks are those of the whole."""

import numpy as np
import pandas as pd
import pytest

from hemacell.prediction.differential.shares import differentials
from hemacell.prediction.summary import first_to_review, tallied
from hemacell.reporting.tables import prediction_summary

CLASSES = ("A", "B", "C")


@pytest.fixture
def predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = rng.choice(["A", "B", ""], 200, p=[0.6, 0.3, 0.1])
    probability = np.where(label == "", np.nan, rng.uniform(0.3, 1, 200).round(3))
    doubt = (label == "") | (probability < 0.5)
    why = np.where(label == "", "has zero size", "")
    names = [f"{number}.jpg" for number in range(200)]
    columns = {"image": names, "class": label, "probability": probability, "needs_review": doubt, "why": why}
    score = np.where(label == "", np.nan, np.where(np.arange(200) % 9, 0.5, 1.5))
    return pd.DataFrame({**columns, "none_of_these": score})


def test_chunks_add_up(predictions):
    smears = ["s" if number % 3 else "t" for number in range(200)]
    tally = tallied(CLASSES, [predictions[:70], predictions[70:71], predictions[71:]], smears, shown=4)
    whole = predictions.assign(smear=smears)
    assert list(tally.counts) == ["t", "s"]
    for smear in ("s", "t"):
        part = whole[whole["smear"] == smear]
        assert tally.counts[smear].tolist() == [(part["class"] == name).sum() for name in CLASSES]
        assert tally.needs_review[smear].tolist() == [
            ((part["class"] == n) & part["needs_review"]).sum() for n in CLASSES
        ]
        unknown = part[part["none_of_these"] > 1]
        assert tally.other[smear].tolist() == [(unknown["class"] == name).sum() for name in CLASSES]
        assert tally.unreadable[smear] == (part["class"] == "").sum()
    assert tally.all_other == (predictions["none_of_these"] > 1).sum() > 15
    assert tally.images == 200 and tally.total().sum() + tally.all_unreadable == 200
    assert tally.review_share == pytest.approx(predictions["needs_review"].mean())
    first = predictions[predictions["class"] == ""].iloc[0]
    assert tally.first_unreadable == f"{first['image']}: has zero size"


def test_those_that_need_review_come_first_the_least_confident_first(predictions):
    tally = tallied(CLASSES, [predictions[:50], predictions[50:]], ["all"] * 200, shown=5)
    expected = predictions[predictions["class"] == "B"].sort_values(
        ["needs_review", "probability"], ascending=[False, True]
    )
    assert [row for row, *_ in tally.to_review("all", "B")] == expected.index[:5].tolist()
    assert tally.to_review("all", "C") == []


def test_as_many_predictions_as_images(predictions):
    with pytest.raises(ValueError, match="more predictions than the 150 images"):
        tallied(CLASSES, [predictions], ["all"] * 150)
    with pytest.raises(ValueError, match="200 predictions for 250 images"):
        tallied(CLASSES, [predictions], ["all"] * 250)


def test_nothing_readable():
    columns = {"image": ["x"], "class": [""], "probability": [np.nan], "needs_review": [True], "why": ["is cut"]}
    table = pd.DataFrame({**columns, "none_of_these": [np.nan]})
    tally = tallied(CLASSES, [table], ["all"], shown=3)
    assert tally.counts["all"].tolist() == [0, 0, 0] and tally.review_share == 1.0


@pytest.mark.parametrize("most", [1, 12, 24, 500])
def test_the_first_to_review_are_those_of_the_whole_table(predictions, most):
    predictions.loc[50:60, "needs_review"] = True  # confident, and still for review
    found = first_to_review([predictions[:70], predictions[70:71], predictions[71:]], most)
    readable = [
        (not row.needs_review, row.probability, n) for n, row in enumerate(predictions.itertuples()) if row.why == ""
    ]
    expected = [n for *_, n in sorted(readable)][:most]
    assert list(found["row"]) == expected and list(found.index) == list(range(len(expected)))
    pd.testing.assert_frame_equal(found.drop(columns="row"), predictions.iloc[expected].reset_index(drop=True))


def test_nothing_to_review(predictions):
    assert not len(first_to_review([predictions[predictions["class"] == ""]], 5))


@pytest.mark.parametrize(("unlike", "withheld"), [(0, False), (3, False), (4, True), (6, True)])
def test_no_shares_of_a_smear_most_of_whose_cells_are_unlike_the_known_ones(unlike, withheld):
    whys = ["unlike the cells that the model knows (2.1 times the usual distance)"] * unlike + [""] * (6 - unlike)
    rows = [(f"{n}.jpg", "A", 0.9, bool(why), why) for n, why in enumerate(whys)]
    rows += [("7.jpg", "B", 0.9, False, "")] * 6 + [("8.jpg", "", np.nan, True, "has zero size")]
    table = pd.DataFrame(rows, columns=["image", "class", "probability", "needs_review", "why"]).assign(
        none_of_these=0.5
    )
    tally = tallied(CLASSES, [table[:2], table[2:]], ["s"] * 6 + ["t"] * 7)
    assert tally.unlike == {"s": unlike, "t": 0} and not tally.withheld("t") and not tally.withheld()
    assert bool(tally.withheld("s")) is withheld
    assert not withheld or tally.withheld("s").startswith(f"{unlike} of 6 cells are unlike the cells")
    assert ("no shares are shown" in prediction_summary(tally)) is False
    counted = {each.smear: each for each in differentials(tally, np.eye(3, dtype=int) * 50, resamples=200)}
    assert np.isnan(counted["s"].raw.share).all() == np.isnan(counted["s"].corrected.share).all() == withheld
    assert counted["s"].counts.tolist() == [6, 0, 0] and counted["t"].raw.share.tolist() == [0, 1, 0]
    alone = tallied(CLASSES, [table[:6]], ["s"] * 6)
    said = prediction_summary(alone)
    assert ("no shares are shown" in said) is withheld and ("%" in said.splitlines()[0]) is False
    assert f"to be reviewed: {unlike / 6:.1%}" in said


def test_other_cells_are_counted_apart_only_where_they_are_told(predictions):
    tally = tallied(CLASSES, [predictions], ["all"] * 200)
    (plain,), (told,) = differentials(tally, None), differentials(tally, None, tells_other=True)
    assert plain.other is None and plain.of_all is None and plain.cells == told.cells
    assert told.others == tally.all_other and (told.counts + told.other == plain.counts).all()
    assert told.of_all.share == pytest.approx(np.append(told.counts, told.others) / told.cells)
    known = np.diag([50, 50, 50])
    (corrected,) = differentials(tally, known, tells_other=True, resamples=200)
    assert corrected.of_all.share == pytest.approx(told.of_all.share)
    assert (corrected.of_all.low <= told.of_all.share).all() and (corrected.of_all.high[:2] > 0.1).all()
