"""Finished runs that never ran: runs with predictions from a simple model, whose truth a test can choose."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from hemacell.evaluation.comparison.records import RunRecord
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.predictions import Predictions

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
SHARES = (0.06, 0.19, 0.21, 0.12, 0.42)
ARMS = ("none", "random-prcc", "prcc", "imagenet", "camelyon", "random-prcc,imagenet", "prcc,camelyon")
AMOUNTS = ("0.01", "0.1", "0.5", "1.0")
TRAINING_IMAGES = 6160

#: How much an arm adds to the logit of the right class, shrinking as labels grow.
EFFECTS = {
    "none": 0.0,
    "random-prcc": 0.1,
    "prcc": 0.3,
    "imagenet": 0.7,
    "camelyon": 0.9,
    "random-prcc,imagenet": 0.7,
    "prcc,camelyon": 1.0,
}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _labels(rng: np.random.Generator, images: int) -> np.ndarray:
    """Unbalanced labels in which every class occurs."""
    return np.concatenate([np.arange(5), rng.choice(5, images - 5, p=SHARES)])


def _amount_labels(amount: str) -> int:
    return 5 * int(amount.split()[0]) if "per class" in amount else round(float(amount) * TRAINING_IMAGES)


def _make_runs(
    arms: Sequence[str] = ARMS,
    amounts: Sequence[str] = AMOUNTS,
    draws: int = 5,
    images: int = 300,
    seed: int = 0,
    effect: Mapping[str, float] | None = None,
    *,
    draw_sd: float = 0.2,
    arm_sd: float = 0.0,
    prediction_sd: float = 0.5,
    external: int = 0,
    laboratories: Sequence[str] = ("lisc",),
    scored: bool = True,
    only_seeds: bool = False,
    settings: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> list[RunRecord]:
    """Runs of a full grid: arms x amounts x draws.

    Each test image has a label, a difficulty and a resemblance to the other classes, the same for all runs. The
    logit of the right class grows with the logarithm of the number of labels, and by `effect[arm]`, which is halved
    for each factor of ten in labels. Arms of equal effect are exchangeable (given `arm_sd=0`).

    Args:
        arms: values of the setting `encoders`, the baseline first.
        amounts: `0.01` or `10 per class`; all of 6160 training images.
        draws: how many a condition.
        images: test images, at least 5.
        seed: equal seeds give equal runs.
        effect: gain in logits an arm at the smallest possible amount; realistic ones without it.
        draw_sd: deviation in logits between draws, the same for all arms of a draw.
        arm_sd: deviation in logits between draws that each arm has for itself.
        prediction_sd: deviation in logits of one prediction of one run.
        external: number of images of each other laboratory; 0 for none.
        laboratories: the names of these.
        scored: compute `metrics`; without it they are empty, which is quicker.
        only_seeds: all draws are the same training images.
        settings, tags: added to those of every run.
    """
    rng = np.random.default_rng(seed)
    effects = EFFECTS if effect is None else effect
    sets = {}
    for split, count in (("test", images), *((f"external/{name}", external) for name in laboratories)):
        if count:
            labels = _labels(rng, count)
            alike = rng.normal(0, 1, (count, 5))
            alike[np.arange(count), labels] = rng.normal(0, 1.5, count) - (split != "test")
            names = [f"WBC_100/{split}/data/{CLASSES[y]}/{i:05d}.jpg" for i, y in enumerate(labels)]
            sets[split] = labels, alike, tuple(names), tuple(_digest(f"{seed} {name}") for name in names)
    runs = []
    for amount in amounts:
        count = _amount_labels(amount)
        fraction, per_class = ("", amount.split()[0]) if "per class" in amount else (amount, "")
        for draw in range(draws):
            of_draw = rng.normal(0, draw_sd)
            for arm in arms:
                shift = 2.2 + 1.2 * np.log10(count / 60) + effects.get(arm, 0.0) * 0.5 ** np.log10(count / 60)
                shift += of_draw + rng.normal(0, arm_sd)
                predictions = {}
                for split, (labels, alike, names, digests) in sets.items():
                    logits = alike + rng.normal(0, prediction_sd, alike.shape)
                    logits[np.arange(len(labels)), labels] += shift
                    p = np.exp(logits - logits.max(1, keepdims=True))
                    p = (p / p.sum(1, keepdims=True)).astype(np.float32)
                    predictions[split] = Predictions(CLASSES, split, names, digests, labels, p)
                metrics = {"train_seconds": float(10 + count / 100)}
                if scored:
                    for split, said in predictions.items():
                        found = classification_metrics(said.labels, said.probabilities, CLASSES)
                        metrics |= {f"{split}/{key}": value for key, value in found.items()}
                steps = round(30 * count**0.41)
                history = tuple(
                    {
                        "step": float(step),
                        "train/loss": 0.4 + 1.2 * float(np.exp(-3 * step / steps)),
                        "val/loss": 0.5 + 1.1 * float(np.exp(-3 * step / steps)),
                        "val/accuracy": 0.85 - 0.5 * float(np.exp(-3 * step / steps)),
                        "val/macro_f1": 0.80 - 0.6 * float(np.exp(-3 * step / steps)),
                    }
                    for step in np.linspace(steps / 5, steps, 5).round().astype(int)
                )
                runs.append(
                    RunRecord(
                        run_id=_digest(f"{seed} {arm} {amount} {draw}")[:32],
                        name=f"{arm} {amount} draw {draw}",
                        arm=arm,
                        amount=amount,
                        draw=0 if only_seeds else draw,
                        seed=draw if only_seeds else 0,
                        labels=count,
                        train_digest=_digest(f"{amount} {0 if only_seeds else draw}"),
                        predictions=predictions["test"],
                        external={split: each for split, each in predictions.items() if split != "test"},
                        metrics=metrics,
                        history=history,
                        settings={
                            "encoders": arm,
                            "fraction": fraction,
                            "labels_per_class": per_class,
                            "draw": str(0 if only_seeds else draw),
                            "seed": str(draw if only_seeds else 0),
                            "steps": "0",
                            "learning_rate": "0.003",
                            **(settings or {}),
                        },
                        tags={
                            "git.commit": "0123456789abcdef0123456789abcdef01234567",
                            "git.dirty": "false",
                            "threads": "2",
                            "data.digest": _digest("data"),
                            "data.kind": "folder",
                            "data.duplicates_across_splits": "0",
                            **(tags or {}),
                        },
                    )
                )
    return runs


@pytest.fixture(scope="session")
def make_runs() -> Callable[..., list[RunRecord]]:
    """A function that makes runs; its arguments are those of `_make_runs`."""
    return _make_runs
