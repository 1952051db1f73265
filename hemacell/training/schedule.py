"""Learning rates over the steps of a training."""

import math
from typing import Literal

Schedule = Literal["onecycle", "cosine"]


def learning_rate(step: int, steps: int, peak: float, schedule: Schedule) -> float:
    """The learning rate of one step.

    `cosine` falls from the peak along half a cosine (Loshchilov & Hutter 2017) after a warm-up of 2 % of the steps;
    `onecycle` rises for 15 % of the steps first (Smith & Topin 2019), which lets small data sets bear a higher peak.

    Args:
        step: 0 <= step < steps.
        steps: of the whole training.
        peak: the largest value.
    """
    warmup = max(1, round(steps * (0.15 if schedule == "onecycle" else 0.02)))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
