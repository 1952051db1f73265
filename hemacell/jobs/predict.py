"""The steps of `predict`: which classifier, what is done already, classify, and what its run says at the end."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.config.jobs import PredictSettings
from hemacell.config.roles import MAY_CHANGE, Role
from hemacell.core.cache import cache_dir
from hemacell.core.errors import UserError
from hemacell.core.files import sha256_of
from hemacell.core.logging import configure_logging
from hemacell.core.progress import end_lines
from hemacell.core.provenance import library_versions, sources_digest
from hemacell.core.threads import available_cores
from hemacell.jobs import differential, field_copies, saliency
from hemacell.jobs.extra_files import ExtraFiles, digest_of
from hemacell.jobs.field_search import cells_of_fields
from hemacell.prediction.inputs import Inputs
from hemacell.prediction.output import Parts, check_output, in_words, open_parts, read_output
from hemacell.prediction.summary import Tally, tallied
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import RegisteredModel, fetch
from hemacell.tracking.runs.existing import can_continue, writers_of
from hemacell.tracking.runs.lifecycle import track
from hemacell.tracking.runs.mlflow_environment import point_to_result
from hemacell.tracking.runs.process import mark_stale_runs
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import (
    DATA_DIGEST,
    DATA_KIND,
    FACTS,
    KEY,
    MODEL_DATA_KIND,
    OUTPUT_DIGEST,
    OUTPUT_PATH,
    SKIPPED,
    THREADS,
)
from hemacell.tracking.store import get_client

if TYPE_CHECKING:
    from hemacell.classifiers.description import ClassifierConfig
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.fields.found_cells import FoundCells
    from hemacell.tracking.runs.existing import Run

logger = logging.getLogger(__name__)

NAME = "predict"
#: Pictures in the page of a differential count: for each class of a smear, and in the whole page.
MOST_THUMBNAILS, ALL_THUMBNAILS = 12, 1200
#: An output that is smaller is stored with the run; of a larger one only path and digest are.
MOST_STORED = 20 * 10**6


@dataclass(frozen=True)
class PredictJob:
    """A run of `predict` that is about to start, or found to be done."""

    settings: PredictSettings
    inputs: Inputs
    output: Path
    model: RegisteredModel
    threads: int
    facts: dict[str, str]
    """what decides the rows, in words"""
    key: str
    done: str
    """the run that did all this already, '' without one"""
    whole: bool
    """whether the output is there already, with these very rows"""

    @cached_property
    def predictor(self) -> ClassifierModel:
        """The classifier, as the settings ask for it, at the scale of these images."""
        from hemacell.classifiers.folder import load_folder
        from hemacell.core.threads import set_threads
        from hemacell.prediction.predict_images import at_their_scale

        set_threads(self.threads)
        asked = self.settings
        made = load_folder(fetch(self.model, cache_dir()), asked.precision, asked.device, asked.crop)
        return at_their_scale(made, self.inputs)

    @cached_property
    def config(self) -> ClassifierConfig:
        """What the classifier is."""
        from hemacell.classifiers.description import DESCRIPTION, ClassifierConfig

        return ClassifierConfig.model_validate_json((fetch(self.model, cache_dir()) / DESCRIPTION).read_text("utf-8"))

    @contextmanager
    def open(self) -> Iterator[tuple[Tracker, Parts]]:
        """The run of this job, and the parts of its output; both go on where an earlier process was stopped."""
        from hemacell.prediction.predict_images import BATCHES_A_PART

        per_part = self.settings.batch * BATCHES_A_PART
        with open_parts(self.output, self.key, self.facts, len(self.inputs), per_part, self.settings.force) as parts:
            before = parts.note if can_continue(NAME, parts.note, self.key) else ""
            if before:
                logger.info(f"predict: going on with run {before}, which did not come to its end")
            with track(
                NAME,
                self.settings.canonical(),
                experiment=self.settings.experiment,
                run_name=self.settings.run_name,
                tags=self._tags(),
                resume=before,
                may_change=self.settings.names(*MAY_CHANGE),
                advice="the same command goes on where it was",
            ) as run:
                parts.keep(run.run_id)
                try:
                    run.model_inputs([self.model.uri], role="model")
                    source = self.inputs.source
                    sizes = {"predict": {"": len(self.inputs)}}
                    if self.inputs.account.skipped:
                        run.text(self.inputs.account.to_csv(), SKIPPED.format(""))
                    run.data_input(self.facts["images"][:32], source.name, str(source), sizes, "prediction")
                    yield run, parts
                finally:
                    end_lines()
            parts.remove()

    def _tags(self) -> dict[str, object]:
        return {
            DATA_KIND: self.inputs.kind(),
            DATA_DIGEST: self.facts["images"],
            THREADS: self.threads,
            MODEL_DATA_KIND: self.model.data_kind,
            KEY: self.key,
            FACTS: json.dumps(self.facts),
            OUTPUT_PATH: self.output,
        }


def prepare(settings: PredictSettings, inputs: Inputs) -> PredictJob:
    """Settle model, output and threads, and find out what of it is done; imports no torch.

    Raises:
        UserError: there is no such model, or the built-in sample trained it and these images are not of it; the
            tracking server is down; or the output cannot be written or is there already and is something else.
    """
    configure_logging()
    output = check_output(settings.output)
    if output == inputs.source:
        raise UserError(f"output={settings.output} is the table of the images itself: name another file")
    mark_stale_runs()
    kind = inputs.kind()
    model = find_classifier(settings.model, kind, settings.site)
    if kind == "sample":
        logger.info("images: of the built-in sample, drawn by this package; these predictions are no result")
    threads = settings.threads or available_cores()
    facts = {
        "model": model.uri,
        "model_id": model.model_id,
        "images": inputs.digest(),
        **settings.texts(Role.KEY),
        "threads": str(threads),
        "format": output.suffix.lower(),
        "libraries": ", ".join(f"{name} {version}" for name, version in library_versions().items()),
        "sources": sources_digest(*settings.computed_by),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    done, whole = _there_already(settings, output, key, facts) if output.exists() else ("", False)
    if not done:
        for added in _added(settings):
            for tag, file in added.files(output).items():
                _check_own(settings, file, tag, key, facts, added)
    return PredictJob(settings, inputs, output, model, threads, facts, key, done, whole)


def _there_already(asked: PredictSettings, output: Path, key: str, facts: Mapping[str, str]) -> tuple[str, bool]:
    """The run that did all this already, and whether the output belongs to this very job; refuses any other file."""
    own = _check_own(asked, output, OUTPUT_DIGEST, key, facts)
    if asked.force:
        return "", False
    for run in own:
        if run.info.status == "FINISHED" and all(
            each.are_there(asked, output, run.data.tags) for each in _added(asked)
        ):
            point_to_result(get_client(), run.info.run_id)
            logger.info(
                f"predict: run {run.info.run_id} has done exactly this already, and {output} is there; "
                "type force=true to do it again"
            )
            return run.info.run_id, True
    return "", True


def _check_own(
    asked: PredictSettings,
    file: Path,
    tag: str,
    key: str,
    facts: Mapping[str, str],
    added: ExtraFiles | None = None,
) -> list[Run]:
    """The runs of this very job that wrote a file, if it exists. Without force, refuses a file of another job.

    Args:
        asked: the settings.
        file: that this job would write; a folder where `added` is one.
        tag: where a run notes its digest.
        key, facts: what decides this job's rows.
        added: what it is, besides the output.
    """
    if not file.exists():
        return []
    if file.is_dir() != bool(added and added.are_folders):
        there, wanted = ("a folder", "a file") if file.is_dir() else ("a file", "a folder")
        raise UserError(
            f"{file} is {there}, and this job writes {wanted} of that name: move it, or name another output"
        )
    if asked.force:
        return []
    runs = writers_of(NAME, tag, digest_of(file))
    if own := [run for run in runs if run.data.tags.get(KEY) == key]:
        return own
    what = "was not written by this job, or was changed since"
    if runs:
        before = json.loads(runs[0].data.tags.get(FACTS, "{}"))
        what = f"was written by run {runs[0].info.run_id} with {in_words(before, facts)}"
    raise UserError(f"{file} is there already and {what}: type force=true to overwrite it, or name another output")


def _added(asked: PredictSettings) -> list[ExtraFiles]:
    """What is asked for besides the output."""
    return [
        *[field_copies.FILES] * asked.find_cells,
        *[differential.FILES] * asked.differential,
        *[saliency.FILES] * (asked.explain > 0),
    ]


# --- the steps


def find_cells(job: PredictJob) -> tuple[PredictJob, FoundCells]:
    """The job with the cells of its fields in place of the fields, and all that was found.

    Raises:
        UserError: as `prediction.search_fields.search_fields`.
    """
    found = cells_of_fields(job.inputs, cache_dir(), job.threads)
    return replace(job, inputs=found.inputs), found.cells


def classify_images(job: PredictJob, run: Tracker, parts: Parts) -> None:
    """Classify what is not classified yet, and make the output of its parts; its digest is on the run beforehand."""
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.core.progress import Progress
    from hemacell.prediction.field_check import look_for_fields
    from hemacell.prediction.predict_images import classify

    if job.whole:
        logger.info(f"predict: {job.output} has these predictions already")
        return
    progress = Progress("classifying")
    classifier = job.predictor
    logger.info(job.inputs.summary())
    if classifier.site:
        logger.info(f"their laboratory: {classifier.site.in_words()}")
    if not job.config.shows_target_risk:
        logger.warning(job.config.calibration_in_words())
    if job.settings.explain:
        GradCAM.of(classifier)  # where it has none, this is reported before the work
    looks = look_for_fields(job.inputs)
    if looks.are_fields:
        logger.warning(looks.in_words())
    speed = classify(
        classifier,
        job.inputs,
        parts,
        job.model.uri,
        job.settings.batch,
        progress=progress,
        threads=job.threads if classifier.device.type == "cpu" else 1,
        may_be_fields=looks.are_fields,
    )
    parts.publish(lambda digest: run.tags({OUTPUT_DIGEST: digest}))
    for note, count in speed.notes.items():
        logger.info(f"{count} images: {note}")
    if speed.images:
        run.metrics({"images_per_second": speed.images_per_second})
        logger.info(
            f"predict: {speed.images} images in {speed.seconds:.0f} s ({speed.images_per_second:.1f} images/s); "
            f"{job.output}"
        )


def log_predictions(job: PredictJob, run: Tracker) -> Tally:
    """Log what the output adds up to, and the output itself where it is small."""
    smears = len(set(job.inputs.smears))
    classes = job.config.classes
    shown = max(1, min(MOST_THUMBNAILS, ALL_THUMBNAILS // (smears * len(classes))))
    tally = tallied(classes, read_output(job.output), job.inputs.smears, shown if job.settings.differential else 0)
    counts = {f"count/{name}": float(count) for name, count in zip(classes, tally.total(), strict=True)}
    shares = {
        "images": tally.images,
        "unreadable": tally.all_unreadable,
        "needs_review": tally.review_share,
        "none_of_these": tally.all_other,
    }
    run.metrics({**counts, **shares})
    digest = sha256_of(job.output)
    run.tags({OUTPUT_DIGEST: digest, OUTPUT_PATH: job.output})
    if job.output.stat().st_size < MOST_STORED:
        run.artifact(job.output)
    else:
        logger.info(f"predict: {job.output.name} is too large to be stored with the run, which has its path and sha256")
    if tally.all_unreadable:
        logger.warning(
            f"{tally.all_unreadable} of {tally.images} images could not be read (their rows have the reason "
            f"in why); the first: {tally.first_unreadable}"
        )
    return tally
