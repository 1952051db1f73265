"""Model cards: what a registered model is, what it was trained on, how good it is, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hemacell.config.groups import TrainingSettings
    from hemacell.data.manifest import Manifest
    from hemacell.data.sources.resolve import DataSource

_SAMPLE = "**Trained on the built-in sample of drawn images: a demonstration, not a result.**\n\n"


class TrainingJob(Protocol):
    """What a card needs to know of the job that trained the model."""

    @property
    def settings(self) -> TrainingSettings: ...

    @property
    def source(self) -> DataSource: ...


@dataclass(frozen=True)
class Score:
    """A score on the test split with its 95 % interval, where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        limits = "" if self.low is None or self.high is None else f" [{self.low:.4f}, {self.high:.4f}]"
        return f"{self.value:.4f}{limits}"


def encoder_card(title: str, job: TrainingJob, manifest: Manifest, scores: Mapping[str, float]) -> str:
    """Card (Markdown) of a pretrained encoder."""
    use = "Frozen features for other microscope images. It does not classify cells, and is **not for clinical use**."
    return _card(title, job, manifest, {name: Score(value) for name, value in scores.items()}, use)


def classifier_card(
    title: str,
    job: TrainingJob,
    manifest: Manifest,
    scores: Mapping[str, Score],
    encoders: Mapping[str, str],
    reliability: Mapping[str, str],
    intervals_over: str,
) -> str:
    """Card (Markdown) of a cell classifier.

    Args:
        title: the heading.
        job: the job that trained it.
        manifest: what it was trained, calibrated and tested on.
        scores: on the test split.
        encoders: name in the setting -> model that was used.
        reliability: label -> text, from `reliability_in_words`.
        intervals_over: of the scores, from `groups.units_in_a_sentence`.
    """
    use = (
        "Classifies images of single, centred, stained white blood cells into "
        f"{len(manifest.classes)} classes ({', '.join(manifest.classes)}), for research. "
        "**Not for clinical use.** "
        "It was trained on the stain and scanner of one laboratory: expect lower scores on images of another, and "
        "measure them first (`mlflow run . -e evaluate -P data=DIR`). Other cells, and images of anything else, are "
        "also assigned to one of these classes; a part of them is flagged (`needs_review`), see below."
    )
    used = "".join(f"- `{name}`: {uri}\n" for name, uri in encoders.items()) or "- none\n"
    facts = "".join(f"- {label}: {text}\n" for label, text in reliability.items())
    more = f"## Reliability\n\n{facts}\n## Frozen encoders\n\n{used}\n"
    intervals = (
        f"In brackets: 95 % interval, by a bootstrap; {intervals_over}. An interval without width means that there was "
        "no mistake, which does not prove that there are none."
    )
    return _card(title, job, manifest, scores, use, more, intervals)


def _card(
    title: str,
    job: TrainingJob,
    manifest: Manifest,
    scores: Mapping[str, Score],
    use: str,
    more: str = "",
    intervals: str = "",
) -> str:
    sizes = "".join(f"| {split} | {sum(classes.values())} |\n" for split, classes in manifest.counts().items())
    table = "".join(f"| {name} | {score} |\n" for name, score in scores.items())
    settings = "".join(f"- {name}: `{text}`\n" for name, text in job.settings.canonical().items() if text)
    return (
        f"# {title}\n\n{_SAMPLE if job.source.kind == 'sample' else ''}{use}\n\n"
        f"## Data\n\n{manifest.name}, sha256 of the manifest `{manifest.digest}`.\n\n"
        f"| split | images |\n| --- | --- |\n{sizes}\n"
        "## Scores on the test split\n\n"
        f"The test images were used once, after training and calibration. {intervals}\n\n"
        f"| metric | value |\n| --- | --- |\n{table}\n"
        f"{more}## Settings\n\n{settings}\n## Licences\n\n{_licences(job, manifest)}\n"
    )


def _licences(job: TrainingJob, manifest: Manifest) -> str:
    unknown = "drawn by this package (MIT)" if job.source.kind == "sample" else "not stated when it was trained"
    own = job.settings.data_license or manifest.card.license or unknown
    if manifest.card.citation:
        own += f", {manifest.card.citation}"
    return (
        f"- training images: {own}; the weights inherit these terms\n"
        "- ImageNet weights, if the backbone was initialised with them: EfficientNet-Lite0, Apache-2.0\n"
        "- frozen encoders: see their own cards\n"
        "- code: MIT"
    )
