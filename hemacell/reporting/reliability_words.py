"""How far a classifier's predictions can be relied on, in words for its model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemacell.classifiers.description import ClassifierConfig
    from hemacell.evaluation.selective import SelectivePrediction


def reliability_in_words(
    config: ClassifierConfig,
    on_val: SelectivePrediction,
    on_test: SelectivePrediction,
    metrics: Mapping[str, float],
    flagged: Mapping[str, float],
) -> dict[str, str]:
    """What a model card says about reliability, label -> text.

    Args:
        config: of the classifier.
        on_val, on_test: what its threshold does on the half of val that it was chosen on, and on test.
        metrics: on test: `ece`, `ece_uncalibrated`, `ood_share` and `none_of_these_share`.
        flagged: kind of altered image -> share that is flagged.
    """
    kinds = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in flagged.items())
    return {
        "probabilities": f"temperature scaling by {config.temperature:.3f}, fitted on one half of val; expected "
        f"calibration error on test {metrics['ece_uncalibrated']:.4f} before and {metrics['ece']:.4f} after",
        "accepted without review": f"{config.calibration_in_words()}; on the other half of val {on_val.in_words()}; "
        f"on test {on_test.in_words()}",
        "out of distribution": f"{metrics['ood_share']:.1%} of the test cells are flagged (false alarms); of images "
        f"made from them: {kinds}",
        "none of the classes": f"{config.open_set_in_words()}; {metrics['none_of_these_share']:.1%} of the test cells "
        "are flagged so (false alarms)",
    }
