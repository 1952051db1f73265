"""What goes into a comparison, and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hemacell.evaluation.predictions import Predictions

Relation = Literal["=", ">", "<"]
"""Equal to a ratio, above it, or below it."""

Spread = Literal["draws", "seeds", "images", "folds"]
"""What an interval of a mean is over: draws of training images; only seeds, where all draws are the same images; with
a single run, the test images; or the images of all folds of a cross-validation, each tested once."""

#: A difference is called clear where its p is not above this and the bootstrap interval excludes zero.
SIGNIFICANCE = 0.05

#: The metric that is tested; the others are shown with intervals.
MAIN_METRIC = "macro_f1"


@dataclass(frozen=True)
class RunRecord:
    """One finished run: an arm on one draw of one amount of labels."""

    run_id: str
    name: str
    arm: str
    """`none`, `prcc,camelyon`, …: the setting `encoders` (in a comparison of two runs: the run's name)."""
    amount: str
    """How many labels, as it is typed: `0.01` (a fraction), or `10 per class`."""
    draw: int
    """Runs of several arms with the same draw and amount are paired."""
    seed: int
    labels: int
    """Number of labelled training images."""
    train_digest: str
    """Of the training images: equal digests mean the same images."""
    predictions: Predictions
    """On the test images."""
    external: Mapping[str, Predictions] = field(default_factory=dict)
    """`external/<name>` -> on the images of that laboratory."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """As logged, without steps: `test/macro_f1`, `external/lisc/accuracy`, `train_seconds`, …"""
    history: tuple[Mapping[str, float], ...] = ()
    """One row per report of the training: `step`, `train/loss`, `val/loss`, `val/accuracy`, `val/macro_f1`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Parameters as logged."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """`git.commit`, `data.digest`, `threads`, `data.duplicates_across_splits`, …"""
    val_images: int = 0
    """Number of labelled val images; 0 where it is not known."""
    folds: int = 0
    """Of how many folds the predictions are, where it stands for the runs of a cross-validation; else 0."""
    arm_settings: tuple[str, ...] = ("encoders",)
    """The settings that make the arm."""


@dataclass(frozen=True)
class Score:
    """One metric of one arm at one amount of labels: mean over draws with a 95 % interval."""

    arm: str
    amount: str
    metric: str
    n: int
    """Number of runs."""
    mean: float
    sd: float | None
    """Between runs; None for a single one."""
    low: float | None
    high: float | None
    """Student's t interval over the runs; over resampled images for a single run; None where neither is possible."""
    spread: Spread
    values: tuple[float, ...]
    """One per run, in the order of `draws`."""
    draws: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """One metric of an arm minus that of the baseline, on the same draws and test images."""

    arm: str
    baseline: str
    amount: str
    metric: str
    n: int
    """Number of draws that both arms have."""
    mean: float
    low: float
    high: float
    """95 % interval of the crossed bootstrap: images resampled, the same for all arms and draws; draws resampled."""
    t_low: float | None
    t_high: float | None
    """95 % t interval over per-draw differences; None with a single draw."""
    values: tuple[float, ...]
    draws: tuple[int, ...]
    spread: Spread
    p: float | None = None
    """Permutation test that flips arms per image, in all draws at once; for the main metric only."""
    p_holm: float | None = None
    """The same, corrected by Holm's method over the amounts of one arm."""
    mcnemar: tuple[float, ...] = ()
    """Exact McNemar test for each draw; for the main metric only."""

    @property
    def p_value(self) -> float | None:
        """p corrected by Holm's method where it is known, else uncorrected."""
        return self.p if self.p_holm is None else self.p_holm

    @property
    def is_clear(self) -> bool:
        """Whether it is distinguishable from zero: by the bootstrap interval, and by p where it was tested."""
        p = self.p_value
        return not self.low <= 0 <= self.high and (p is None or p <= SIGNIFICANCE)


@dataclass(frozen=True)
class LabelEfficiency:
    """How many times the labels the baseline needs to reach an arm's score: `2.1 x`, `more than 4 x`."""

    arm: str
    baseline: str
    amount: str
    ratio: float
    relation: Relation
    """`>`: the baseline does not reach it with all labels that it was given; `<`: it has more with the fewest."""
    low: float | None
    low_relation: Relation | None
    high: float | None
    high_relation: Relation | None
    """95 % interval by the crossed bootstrap; a limit that lies beyond the grid has a relation of its own, such as
    (`>`, 4.0): more than 4 x. None for a baseline of one amount."""


@dataclass(frozen=True)
class ControlShare:
    """What part of an arm's gain its control has already."""

    arm: str
    control: str
    amount: str
    beyond: Difference
    """The arm minus its control."""
    share: float | None
    """(control - baseline) / (arm - baseline); None where the arm's gain is not clearly above zero."""
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MajorityBaseline:
    """The score of a classifier that always predicts the class that is most frequent in the test images."""

    label: str
    metrics: Mapping[str, float]
    """`accuracy`, `balanced_accuracy`, `macro_f1`."""


@dataclass(frozen=True)
class Comparison:
    """What a grid of runs says, for one set of images (`test` or `external/<name>`)."""

    split: str
    classes: tuple[str, ...]
    images: int
    """Test images that all runs predicted."""
    arms: tuple[str, ...]
    """In the order of the study, the baseline first."""
    amounts: tuple[str, ...]
    """From few labels to many."""
    labels: Mapping[str, float]
    """Mean number of labelled training images of each amount."""
    val_images: int
    """Labelled val images, which calibrate and choose nothing; part of the label budget."""
    baseline: str
    scores: tuple[Score, ...]
    """Every metric, arm and amount."""
    differences: tuple[Difference, ...]
    """Every arm but the baseline; `macro_f1`, `accuracy`, `balanced_accuracy` and `f1/<Class>`."""
    label_efficiency: tuple[LabelEfficiency, ...]
    control_shares: tuple[ControlShare, ...]
    majority_baseline: MajorityBaseline
    confusion: Mapping[tuple[str, str], np.ndarray]
    """(arm, amount) -> counts int64 [C, C], rows labelled, columns predicted, summed over the draws."""
    warnings: tuple[str, ...]
    """One line each, for the reader of the report."""
    groups: int = 0
    """Of how many groups (patients, slides) the images are; 0 where none is known."""
    folds: int = 0
    """Folds of the cross-validation that tested them; 0 where all runs have the same test images."""

    def score(self, arm: str, amount: str, metric: str = MAIN_METRIC) -> Score | None:
        """The score of one condition; None without such a run."""
        return next((s for s in self.scores if (s.arm, s.amount, s.metric) == (arm, amount, metric)), None)

    def difference(self, arm: str, amount: str, metric: str = MAIN_METRIC) -> Difference | None:
        """The difference of one condition to the baseline; None without a draw in common."""
        return next((d for d in self.differences if (d.arm, d.amount, d.metric) == (arm, amount, metric)), None)

    def main_differences(self, amount: str = "") -> list[Difference]:
        """The differences of the main metric, in the order of the arms; of one amount, or of all of them."""
        found = [self.difference(arm, each) for each in ([amount] if amount else self.amounts) for arm in self.arms]
        return [each for each in found if each is not None]
