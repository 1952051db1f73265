"""Pictures: what is drawn is what was given, also at the edges; and they are not blank."""

import io
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.evaluation.metrics import classification_metrics
from hemacell.reporting import figures

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def answers(n=200, classes=5, strength=3.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    logits = rng.normal(0, 1.3, (n, classes))
    logits[np.arange(n), labels] += strength
    p = np.exp(logits)
    return labels, p / p.sum(1, keepdims=True)


def pixels(figure):
    """The picture as uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def assert_drawn(figure):
    """Readable size, and neither blank nor cut off: a white margin all around."""
    picture = pixels(figure)
    height, width = picture.shape[:2]
    assert 400 <= width <= 1700
    assert 200 <= height <= 1300
    assert (picture.min(2) < 128).sum() > 200
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edge == 255).all()


def history(epochs=20):
    return [
        {
            "step": s,
            "train/loss": 2 * np.exp(-s / 8) + 0.4,
            "val/loss": 2 * np.exp(-s / 7) + 0.5,
            "val/macro_f1": 0.98 - 0.8 * np.exp(-s / 6),
            "val/accuracy": 0.985 - 0.6 * np.exp(-s / 6),
            "lr": 0.002 * (1 - s / epochs),
            "images_per_second": 200.0,
        }
        for s in range(1, epochs + 1)
    ]


def line(axes, label):
    return next(line for line in axes.lines if str(line.get_label()).startswith(label))


def test_loss_curves_draw_every_series_at_its_steps():
    rows = history()
    figure = figures.loss_curves(rows, "epoch")
    assert_drawn(figure)
    loss, scores, rate = figure.axes
    for axes, label, key in [
        (loss, "training", "train/loss"),
        (loss, "validation", "val/loss"),
        (scores, "macro-F1", "val/macro_f1"),
        (scores, "accuracy", "val/accuracy"),
    ]:
        assert line(axes, label).get_xydata().tolist() == [[row["step"], row[key]] for row in rows]
    assert rate.lines[0].get_ydata().tolist() == [row["lr"] for row in rows]
    assert rate.get_xlabel() == "epoch"
    assert loss.get_ylim()[0] == 0
    best = rows[-1]["val/macro_f1"]
    assert f"macro-F1, best {best:.3f} at 20" in texts(figure)


@pytest.mark.parametrize(
    ("rows", "panels"),
    [
        (history(1), 3),
        ([{"step": row["step"], "train/loss": row["train/loss"]} for row in history()], 1),
        ([{"step": 1, "train/loss": 0.5}, {"step": 2, "train/loss": np.nan}, {"step": 3, "val/loss": np.inf}], 1),
        ([{"step": 1, "train/loss": np.nan, "val/accuracy": np.nan, "lr": 0.1}], 3),
        ([{"step": 1, "train/loss": -0.5}, {"step": 2, "train/loss": -0.9}], 1),
        ([{"step": 1, "val/ssim": 0.5}, {"step": 2, "val/ssim": 0.6}], 2),
    ],
)
def test_loss_curves_of_short_and_broken_histories(rows, panels):
    figure = figures.loss_curves(rows)
    assert_drawn(figure)
    assert len(figure.axes) == panels


def test_losses_over_orders_of_magnitude_are_logarithmic():
    rows = [{"step": s, "train/loss": 10.0 ** (-s)} for s in range(4)]
    assert figures.loss_curves(rows).axes[0].get_yscale() == "log"


@pytest.mark.parametrize("rows", [[], [{"train/loss": 1.0}]])
def test_loss_curves_need_steps(rows):
    with pytest.raises(ValueError, match="step"):
        figures.loss_curves(rows)


@pytest.mark.parametrize("classes", [CLASSES, ("normal", "tumor"), tuple("abcdefgh")])
def test_confusion_matrix_shows_counts_and_row_shares(classes):
    labels, p = answers(classes=len(classes), strength=1.5)
    predicted = p.argmax(1)
    figure = figures.confusion_matrix(labels, predicted, classes)
    assert_drawn(figure)
    drawn = {}
    for text in figure.axes[0].texts:
        drawn.setdefault(tuple(text.xy), []).append(text.get_text())
    shade = np.asarray(figure.axes[0].images[0].get_array())
    for row in range(len(classes)):
        for column in range(len(classes)):
            count = int(((labels == row) & (predicted == column)).sum())
            share = count / (labels == row).sum()
            assert drawn[column, row] == ([f"{count}", f"{share:.1%}"] if count else ["0"])
            assert shade[row, column] == pytest.approx(share)


def test_confusion_matrix_of_a_class_without_images():
    figure = figures.confusion_matrix([0, 0, 1], [0, 2, 1], ("a", "b", "c"))
    assert_drawn(figure)
    assert "c\n(n = 0)" in texts(figure)
    assert "2 of 3 correct (66.7%)" in texts(figure)


def test_per_class_bars_have_the_height_of_the_scores():
    metrics = classification_metrics(*answers(), CLASSES)
    figure = figures.per_class(metrics, CLASSES)
    assert_drawn(figure)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    expected = [metrics[f"{score}/{name}"] for score in ("precision", "recall", "f1") for name in CLASSES]
    assert heights == pytest.approx(expected)
    assert f"macro-F1 = {metrics['macro_f1']:.3f}" in texts(figure)


def test_per_class_says_where_there_is_no_score():
    figure = figures.per_class({"precision/a": 1.0, "recall/a": 0.1, "f1/a": 0.18}, ("a", "b"))
    assert_drawn(figure)
    assert texts(figure).count("none") == 3
    assert "0.100" in texts(figure)


def test_reliability_puts_a_point_for_each_bin():
    labels, p = answers(500, strength=2)
    figure = figures.reliability(labels, p)
    assert_drawn(figure)
    upper, lower = figure.axes
    points = upper.containers[0].lines[0].get_xydata()
    counts = [int(text.get_text()) for text in lower.texts]
    assert sum(counts) == 500
    assert len(points) == len(counts) == len(lower.patches)
    gaps = np.abs(points[:, 0] - points[:, 1]) * counts
    assert upper.get_title(loc="left") == f"expected calibration error {gaps.sum() / 500:.4f}"


def test_reliability_of_one_certain_answer():
    assert_drawn(figures.reliability([0], [[1.0, 0.0]]))
    assert_drawn(figures.reliability([1], [[1.0, 0.0]]))


@pytest.mark.parametrize("strength", [1.0, 9.0])
def test_roc_has_a_curve_for_each_class_with_the_area_in_its_name(strength):
    labels, p = answers(strength=strength)
    figure = figures.roc(labels, p, CLASSES)
    assert_drawn(figure)
    axes = figure.axes[0]
    for name in CLASSES:
        curve = line(axes, name)
        area = np.trapezoid(curve.get_ydata(), curve.get_xdata())
        assert curve.get_label() == f"{name}, AUROC {area:.3f}"
    assert len(axes.child_axes) == (1 if strength == 9.0 else 0)  # the corner is enlarged where all curves lie in it


def test_roc_of_two_classes_is_that_of_the_second():
    labels, p = answers(classes=2, strength=1)
    figure = figures.roc(labels, p, ("normal", "tumor"))
    assert [line.get_label().split(",")[0] for line in figure.axes[0].lines[:-1]] == ["tumor"]


def test_roc_of_one_class_alone_says_so():
    figure = figures.roc([1, 1], [[0.5, 0.5], [0.2, 0.8]], ("normal", "tumor"))
    assert texts(figure) == ["no ROC curve: all images are of one class"]


def coloured(n, size=32):
    """Images each of its own colour, so that one is recognised in a gallery."""
    rng = np.random.default_rng(1)
    return np.broadcast_to(rng.integers(0, 255, (n, 1, 1, 3), dtype=np.uint8), (n, size, size, 3))


def test_mistakes_show_the_most_confident_first():
    labels, p = answers(300, strength=1.5)
    images = coloured(300)
    figure = figures.mistakes(images, labels, p, CLASSES)
    assert_drawn(figure)
    wrong = [i for i in range(300) if p[i].argmax() != labels[i]]
    assert len(wrong) > 24
    expected = sorted(wrong, key=lambda i: -p[i].max())[:24]
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 24
    for axes, index in zip(shown, expected, strict=True):
        assert (np.asarray(axes.images[0].get_array()) == images[index]).all()
        answer = CLASSES[p[index].argmax()]
        assert axes.get_title() == f"{CLASSES[labels[index]]}\n→ {answer} {p[index].max():.2f}"
    assert f"{len(wrong)} of 300 images wrong, the 24 most confident" in figure.get_suptitle()


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_mistakes_are_all_shown(count):
    labels = np.zeros(10, dtype=np.int64)
    p = np.tile([0.9, 0.1], (10, 1))
    p[:count] = [0.3, 0.7]
    figure = figures.mistakes(coloured(10), labels, p, ("a", "b"))
    assert_drawn(figure)
    assert sum(bool(axes.images) for axes in figure.axes) == count
    assert "all of them" in figure.get_suptitle()


def test_no_mistakes_says_so():
    figure = figures.mistakes(coloured(3), [0, 1, 0], np.eye(2)[[0, 1, 0]], ("a", "b"))
    assert_drawn(figure)
    assert texts(figure) == ["no mistakes among 3 images"]


@pytest.mark.parametrize("bad", [coloured(2), coloured(3).astype(np.float32), coloured(3)[..., :1], coloured(3)[0]])
def test_mistakes_take_uint8_images_one_a_label(bad):
    with pytest.raises(ValueError, match="uint8 images"):
        figures.mistakes(bad, [0, 1, 0], np.eye(2)[[0, 1, 0]], ("a", "b"))


def test_mistakes_have_their_heat_beside_them_and_none_other_is_asked_for():
    labels, p = answers(300, strength=1.5)
    images, asked = coloured(300, 48), []

    def heat(rows):
        asked.extend(rows.tolist())
        found = np.zeros((len(rows), 48, 48), np.float32)
        found[:, 20:30, 10:20] = np.linspace(0.5, 1, len(rows))[:, None, None]
        return found

    figure = figures.mistakes(images, labels, p, CLASSES, saliency=heat, crop=0.5)
    assert_drawn(figure)
    plain = figures.mistakes(images, labels, p, CLASSES)
    drawn, alone = ([axes for axes in each.axes if axes.images] for each in (figure, plain))
    assert len(drawn) == len(asked) == 24
    for axes, other, index in zip(drawn, alone, asked, strict=True):
        shown = np.asarray(axes.images[0].get_array())
        assert axes.get_title() == other.get_title() and shown.shape[0] == 48
        assert (shown[:, :48] == images[index]).all()
        beside = shown[:, -48:].astype(int)
        hot = np.zeros((48, 48), bool)
        hot[20:30, 10:20] = True
        assert (np.ptp(beside[~hot], axis=-1) <= 1).all()  # grey
        assert np.ptp(beside[hot], axis=-1).min() > 40
        (frame,) = axes.patches
        assert frame.get_width() == frame.get_height() == 24
        assert (frame.get_x(), frame.get_y()) == (shown.shape[1] - 48 + 12 - 0.5, 12 - 0.5)
    assert any("Grad-CAM" in text for text in texts(figure)) and not any("Grad-CAM" in text for text in texts(plain))


@pytest.mark.parametrize("count", [1, 3, 96])
def test_explained_images(count):
    heat = np.random.default_rng(0).random((count, 48, 48), np.float32)
    names = [f"$\\frac{number}$.jpg\nEosinophil 0.41, for review" for number in range(count)]
    figure = figures.saliency_maps(coloured(count, 48), names, "$\\frac$.csv: some images", heat)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == names and figure.get_suptitle() == "$\\frac$.csv: some images"
    assert not any(axes.patches for axes in drawn)  # the whole image is looked at
    if count < 96:
        assert_drawn(figure)
    with pytest.raises(ValueError, match="saliency of shape"):
        figures.saliency_maps(coloured(count, 48), names, "", heat[:, :47])


@pytest.mark.parametrize("threshold", [0.0, 0.9, 2.0])
def test_the_risk_at_every_coverage(threshold):
    labels, p = answers(300, strength=2.0)
    figure = figures.risk_coverage(labels, p, threshold)
    assert_drawn(figure)
    (axes,) = figure.axes
    coverage, risk = axes.lines[0].get_data()
    assert coverage[-1] == 1 and risk[-1] == pytest.approx((p.argmax(1) != labels).mean())
    taken = p.max(1) >= threshold
    if taken.any():
        (x,), (y,) = axes.lines[1].get_data()
        assert (x, y) == (pytest.approx(taken.mean()), pytest.approx((p.argmax(1) != labels)[taken].mean()))
    else:
        assert len(axes.lines) == 1


def test_distances_of_each_kind_and_their_share_beyond_the_limit():
    kinds = {"test cells": np.linspace(0.2, 1.005, 100), "out_of_focus": np.full(40, 3.0), "noise": np.full(40, 1e9)}
    figure = figures.ood_distances(kinds, 1.0)
    assert_drawn(figure)
    found = texts(figure)
    assert {"out of focus", "1.0% of 100 flagged"} <= set(found) and found.count("100.0% of 40 flagged") == 2
    assert figure.axes[0].lines[2].get_xdata().max() == 1000  # at the border


def test_no_image_to_explain_says_so():
    figure = figures.saliency_maps(coloured(3, 48)[:0], [], "", np.zeros((0, 48, 48), np.float32))
    assert texts(figure) == ["no images to show"]


def answered(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["class", "probability", "needs_review"])


def test_answers_stand_beside_their_labels():
    table = answered(
        [("Monocyte", 0.91, False), ("Basophil", 0.4, True), ("", float("nan"), True), ("Monocyte", 1, False)]
    )
    images = coloured(4)
    figure = figures.predictions(images, table, ["Monocyte", "Monocyte", "", ""])
    assert_drawn(figure)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Monocyte\n→ Monocyte 0.91", "Monocyte\n→ Basophil 0.40", "cannot be read", " \n→ Monocyte 1.00"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "review", "", ""]
    assert [axes.title.get_fontweight() for axes in figure.axes] == ["normal", "bold", "normal", "normal"]
    assert [bool(axes.images) for axes in figure.axes] == [True, True, False, True]
    assert (np.asarray(figure.axes[1].images[0].get_array()) == images[1]).all()
    frames = [mpl.colors.to_hex(axes.spines["top"].get_edgecolor()) for axes in figure.axes]
    assert frames == ["#ffffff", "#d55e00", "#d55e00", "#ffffff"]
    assert "→" in figures.predictions(images, table).axes[0].get_title()
    with pytest.raises(ValueError, match="4 labels expected, got 1"):
        figures.predictions(images, table, ["Monocyte"])
    with pytest.raises(ValueError, match="uint8 images"):
        figures.predictions(coloured(3), table)


def counted(smears, note="", corrected=True) -> pd.DataFrame:
    rows = [
        {
            "smear": smear,
            "class": name,
            "cells": 40,
            "note": note if name == "Monocyte" else "",
            **dict(zip(("share", "share_low", "share_high"), (place / 10, place / 20, place / 5), strict=True)),
            **dict.fromkeys(("corrected", "corrected_low", "corrected_high"), 0.2 if corrected else float("nan")),
        }
        for smear in smears
        for place, name in enumerate(CLASSES)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("smears", [1, 2, 5, 12])
def test_a_panel_for_each_smear(smears):
    figure = figures.differential_shares(counted([f"smear {number}" for number in range(smears)], note="never told"))
    assert_drawn(figure)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [f"smear {n}: 40 cells" for n in range(min(9, smears))]
    for axes in panels:
        lines = [line.get_xdata().tolist() for line in axes.lines]
        assert lines[4 * 2 : 4 * 2 + 2] == [pytest.approx([10, 40]), pytest.approx([20])]  # the third class, as counted
        assert len(lines) == 4 * len(CLASSES)
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == [f"{name} *" if name == "Monocyte" else name for name in CLASSES]


def test_shares_that_are_not_known_are_not_drawn():
    figure = figures.differential_shares(counted(["one"], corrected=False))
    assert len(figure.axes[0].lines) == 2 * len(CLASSES) and "corrected" not in texts(figure)
    with pytest.raises(ValueError, match="without rows"):
        figures.differential_shares(counted([]).reindex(columns=["smear"]))


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (3, 3), (11, 11), (30, 16)])
def test_reconstructions_lie_under_their_originals(count, shown):
    originals, copies = coloured(count), 255 - coloured(count)
    figure = figures.reconstructions(originals, copies, np.linspace(0.5, 0.9, count))
    assert_drawn(figure)
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 2 * shown
    below = {axes.get_xlabel(): axes for axes in drawn if axes.get_xlabel()}
    for index in range(shown):
        lower = below[f"SSIM {np.linspace(0.5, 0.9, count)[index]:.3f}"]
        upper = max(
            (a for a in drawn if a.get_position().y0 > lower.get_position().y0 + 1e-6
             and abs(a.get_position().x0 - lower.get_position().x0) < 1e-6),
            key=lambda a: -a.get_position().y0,
        )  # fmt: skip
        assert (np.asarray(lower.images[0].get_array()) == copies[index]).all()
        assert (np.asarray(upper.images[0].get_array()) == originals[index]).all()


def test_a_users_matplotlib_settings_change_no_picture_and_are_left_alone():
    labels, p = answers()
    before = pixels(figures.roc(labels, p, CLASSES))
    with mpl.rc_context({"font.size": 30, "xtick.labelsize": 40, "figure.dpi": 20, "axes.facecolor": "black"}):
        assert (pixels(figures.roc(labels, p, CLASSES)) == before).all()
        assert mpl.rcParams["font.size"] == 30


def test_no_window_system_and_no_pyplot_is_needed():
    code = (
        "import sys, hemacell.reporting.figures as f; f.loss_curves([{'step': 1, 'train/loss': 1.0}]); "
        "sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
