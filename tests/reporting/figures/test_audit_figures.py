"""The figures of an audit show what they are given."""

import numpy as np
import pandas as pd
import pytest

from hemacell.reporting import figures


def test_copies_are_shown_side_by_side_with_their_names():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), np.uint8)
    figure = figures.copies(pictures, pictures[::-1], [("test a.png", "train b.png"), ("val $c$.png", "train d.png")])
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 2 and panels[0].images[0].get_array().shape[1] > 2 * 20
    assert panels[1].get_title(loc="left") == "val $c$.png\n= train d.png"
    figure.savefig("/dev/null", format="png")


def test_pairs_must_be_complete():
    with pytest.raises(ValueError, match="expected"):
        figures.copies(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.uint8), [("a", "b")])


def test_each_measurement_has_a_panel_and_each_split_a_colour():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"brightness": rng.normal(size=40), "nucleus_diameter": [np.nan] * 40})
    figure = figures.measurements(table, ["Basophil", "Monocyte"] * 20, ["train"] * 30 + ["test"] * 10)
    titled = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert titled == ["brightness", "nucleus diameter"]
    medians = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(medians) == 4
    drawn = medians[0].get_xdata()[0]
    train = table["brightness"][:30][::2]
    assert drawn == pytest.approx(np.median(train))
    figure.savefig("/dev/null", format="png")


def test_images_without_labels_and_splits_have_one_row():
    figure = figures.measurements(pd.DataFrame({"brightness": [0.1, 0.2]}), ["", ""], ["", ""])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["all"]
