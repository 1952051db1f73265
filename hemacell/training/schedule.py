"""Learning rates over the steps of a training."""

import math
from typing import Literal

Schedule = Literal["onecycle", "cosine"]


#: Share of the steps in which the learning rate rises.
WARMUP: dict[Schedule, float] = {"onecycle": 0.15, "cosine": 0.02}


def learning_rate(step: int, steps: int, peak: float, schedule: Schedule, warmup: float | None = None) -> float:
    """The learning rate of one step.

    It rises in a warm-up and falls from the peak along half a cosine. `cosine` (Loshchilov & Hutter 2017) has a short
    warm-up, `onecycle` (Smith & Topin 2019) a long one, which lets small data sets bear a higher peak.

    Args:
        step: 0 <= step < steps.
        steps: of the whole training.
        peak: the largest value.
        schedule: which of the two.
        warmup: share of the steps in which it rises, 0 <= warmup < 1; None for the schedule's own (`WARMUP`).
    """
    rising = max(1, round(steps * (WARMUP[schedule] if warmup is None else warmup)))
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
