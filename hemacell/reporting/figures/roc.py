"""ROC curves."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from hemacell.evaluation.checks import checked_probabilities
from hemacell.evaluation.metrics import one_vs_rest_auroc
from hemacell.reporting.figures.style import GREY, colour, line_style, new_figure, show_text, styled


@styled
def roc(labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> Figure:
    """ROC curves, each class against the rest; of two classes only the second's, as the other's is its mirror.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        classes: C names. One without an image, or with all of them, has no curve.
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    areas = one_vs_rest_auroc(y, p)
    if len(classes) == 2:
        areas.pop(0, None)
    figure = new_figure(5.0, 4.9)
    axes = figure.subplots()
    if not areas:
        show_text(axes, "no ROC curve: all images are of one class")
        return figure
    panels = [axes]
    if min(areas.values()) > 0.97:  # the curves lie in one corner
        panels.append(axes.inset_axes((0.42, 0.40, 0.53, 0.45), xlim=(-0.002, 0.1), ylim=(0.9, 1.002)))
        panels[1].tick_params(labelsize=7)
        axes.indicate_inset_zoom(panels[1], edgecolor=GREY)
    for number, (index, area) in enumerate(areas.items()):
        false_positive_rate, sensitivity, _ = roc_curve(y == index, p[:, index])
        for panel in panels:
            label = f"{classes[index]}, AUROC {area:.3f}"
            panel.plot(
                false_positive_rate, sensitivity, linestyle=line_style(number), color=colour(number), label=label
            )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel("false positive rate (1 - specificity)")
    axes.set_ylabel("true positive rate (sensitivity)")
    axes.set_title("each class against the rest" if len(classes) > 2 else f"{classes[1]} against {classes[0]}")
    axes.legend(loc="lower right")
    return figure
