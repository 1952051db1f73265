"""Model cards: what a registered model is, what it learnt from, how good it is, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.tracking.job import Job

_SAMPLE = "**Trained on the built-in sample of drawn images: a demonstration, no result.**\n\n"
_LICENCES = (
    "The weights inherit the terms of the images that they were trained on; see the data set's own licence. "
    "ImageNet weights, where used, are those of EfficientNet-Lite0 (Apache-2.0). The code is MIT-licensed."
)


def encoder_card(title: str, job: Job[Any], manifest: Manifest, scores: Mapping[str, float]) -> str:
    """Card (Markdown) of a pretrained encoder."""
    use = "Frozen features for other microscope images. It does not classify cells, and is **not for clinical use**."
    return _card(title, job, manifest, scores, use)


def classifier_card(
    title: str, job: Job[Any], manifest: Manifest, scores: Mapping[str, float], encoders: Mapping[str, str]
) -> str:
    """Card (Markdown) of a cell classifier; `encoders` maps what was asked for to what was used."""
    use = (
        "Sorts pictures of single, centred, stained white blood cells into five classes, for research. "
        "**Not for clinical use.** "
        "Trained on one laboratory's stain and scanner: expect worse scores on another's, and measure them first "
        "(`mlflow run . -e evaluate -P data=DIR`). Other cells and pictures of anything else are given one of the five "
        "names too."
    )
    used = "".join(f"- `{name}`: {uri}\n" for name, uri in encoders.items()) or "- none\n"
    return _card(title, job, manifest, scores, use) + f"\n## Frozen encoders\n\n{used}"


def _card(title: str, job: Job[Any], manifest: Manifest, scores: Mapping[str, float], use: str) -> str:
    sizes = "".join(f"| {split} | {sum(classes.values())} |\n" for split, classes in manifest.counts().items())
    table = "".join(f"| {name} | {value:.4f} |\n" for name, value in scores.items())
    settings = "".join(f"- {name}: `{text}`\n" for name, text in job.settings.canonical().items() if text)
    return (
        f"# {title}\n\n{_SAMPLE if job.source.kind == 'sample' else ''}{use}\n\n"
        f"## Data\n\n{manifest.name}, sha256 of the manifest `{manifest.digest}`.\n\n"
        f"| split | images |\n| --- | --- |\n{sizes}\n"
        f"## Scores on the test split, looked at once\n\n| metric | value |\n| --- | --- |\n{table}\n"
        f"## Settings\n\n{settings}\n## Licences\n\n{_LICENCES}\n"
    )
