"""Which version of a registered model is its champion: decided on validation images that two versions share."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.evaluation.paired import sign_test
from hemacell.tracking.registry.lookup import DataKind, RegisteredModel, fetch, find, find_alias, model_files
from hemacell.tracking.schema import CHAMPION, CLASSES_DIGEST, SAMPLE, VAL_IMAGES

#: Scores of a model on the images of the new one: takes the model's own folder, fetched.
Rescore = Callable[[Path], Mapping[str, float]]


@dataclass(frozen=True)
class Candidate:
    """A version that may become champion.

    Attributes:
        name: of the registered model.
        kind: of the data that trained it.
        trial: trained for a quick try, on a part of the images (`limit=`).
        classes: names in order, empty for an encoder.
        scores: sha256 of each validation image -> score on it, greater is better.
        rescore: how another version is scored on these images; None where that cannot be done.
        groups: sha256 of each of these images -> its patient or slide; None or empty where they are not known.
    """

    name: str
    kind: DataKind
    trial: bool
    classes: tuple[str, ...]
    scores: Mapping[str, float]
    rescore: Rescore | None
    groups: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Decision:
    """The alias that the version gets, '' for none, and the reason."""

    alias: str
    reason: str


def classes_digest(classes: Sequence[str]) -> str:
    """Identity of an ordered list of classes, '' for none."""
    return hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()[:12] if classes else ""


def decide(candidate: Candidate, cache: Path) -> Decision:
    """Decide whether a version becomes champion of the versions with its classes.

    The first list of classes under a registered name has the alias `champion`; each other list has a champion of its
    own, `champion-<number>-classes-<digest>`. A champion is replaced where a paired test on shared validation images
    says that the new version is better.

    Args:
        candidate: the version, before it has an alias.
        cache: where a champion's files are fetched to.
    """
    if candidate.kind == "sample":
        return Decision(SAMPLE, "trained on the built-in sample: never a champion")
    if candidate.trial:
        return Decision("", "trained on a part of the images (limit=): never a champion")
    alias, champion = CHAMPION, find(candidate.name, "folder")
    own = classes_digest(candidate.classes)
    if champion is not None and champion.tags.get(CLASSES_DIGEST, "") != own:
        alias = f"{CHAMPION}-{len(candidate.classes)}-classes-{own[:6]}"
        champion = find_alias(candidate.name, alias)
        if champion is None:
            return Decision(alias, f"the first version with these classes: {', '.join(candidate.classes)}")
    if champion is None:
        return Decision(alias, "the first version trained on real data")
    return _against(champion, alias, candidate, cache)


def _against(champion: RegisteredModel, alias: str, candidate: Candidate, cache: Path) -> Decision:
    scores: Mapping[str, float] = _stored_scores(champion)
    if not candidate.scores.keys() <= scores.keys() and candidate.rescore is not None:
        try:
            scores = candidate.rescore(fetch(champion, cache))
        except UserError as error:  # a champion that cannot be read must not cost the model that was just trained
            return Decision("", f"{champion.uri} could not be scored on the same images: {error}")
    found = sign_test(candidate.scores, scores, candidate.groups)
    if not found.images:
        return Decision("", f"{champion.uri} was validated on other images, and no image is shared")
    if found.is_better:
        return Decision(alias, f"better than {champion.uri}: {found.in_words()}")
    return Decision("", f"not better than {champion.uri} beyond chance: {found.in_words()}")


def write_scores(folder: Path, scores: Mapping[str, float]) -> Path:
    """Write the scores on validation images as the file that a registered model carries."""
    file = folder / VAL_IMAGES
    file.write_text(json.dumps(dict(sorted(scores.items()))), encoding="utf-8")
    return file


def _stored_scores(model: RegisteredModel) -> dict[str, float]:
    """What `write_scores` wrote for a registered model; empty where it has no such file."""
    import mlflow

    if VAL_IMAGES not in model_files(model):
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        file = mlflow.artifacts.download_artifacts(artifact_uri=f"{model.uri}/{VAL_IMAGES}", dst_path=scratch)
        return json.loads(Path(file).read_text(encoding="utf-8"))
