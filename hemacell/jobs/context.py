"""What a job knows before its run is open: settings, data, threads, and whether there is anything to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from hemacell.config.groups import StepSettings
from hemacell.config.roles import IN_KEY, MAY_CHANGE, Role
from hemacell.core.cache import cache_dir
from hemacell.core.logging import configure_logging
from hemacell.core.progress import end_lines
from hemacell.core.provenance import sources_digest, step_key
from hemacell.core.threads import available_cores
from hemacell.data.sources.resolve import DataSource, resolve_data
from hemacell.tracking.runs.existing import existing_run, finished_run
from hemacell.tracking.runs.lifecycle import has_open_run, track
from hemacell.tracking.runs.mlflow_environment import point_to_result
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import DATA_DIGEST, DATA_KIND, KEY, THREADS
from hemacell.tracking.store import get_client

logger = logging.getLogger(__name__)

Own = TypeVar("Own", bound=StepSettings, covariant=True)
Given = TypeVar("Given", bound=StepSettings)


class HasDigest(Protocol):
    """Images, whatever they are."""

    @property
    def digest(self) -> str:
        """sha256 in hex of all that they are."""
        ...


@dataclass(frozen=True)
class RunContext(Generic[Own]):
    """A job that is about to start.

    Attributes:
        name: of the job, such as `wbc`.
        settings: those of a resumed run are its own.
        source: where its images come from.
        cache: folder for what can be made again.
        threads: processor threads that it computes with.
    """

    name: str
    settings: Own
    source: DataSource
    cache: Path
    threads: int

    def key(self, inputs: Mapping[str, str]) -> str:
        """The digest of all that decides the result; `inputs` are digests of data and models (see `step_key`)."""
        sources = sources_digest(*self.settings.computed_by)
        return step_key(self.name, sources, self.settings.texts(*IN_KEY), inputs, self.threads)

    def finished(self, key: str) -> str | None:
        """The run that computed all this before, which is then announced; None where the settings ask for it again."""
        if self.settings.force or self.settings.resume:
            return None
        run_id = finished_run(self.name, key)
        if run_id is not None:
            if not has_open_run():  # which points to its own run
                point_to_result(get_client(), run_id)
            logger.info(f"{self.name}: run {run_id} has done exactly this already; type force=true to do it again")
        return run_id

    @contextmanager
    def open(
        self, manifest: HasDigest, key: str, tags: Mapping[str, object] | None = None, **params: object
    ) -> Iterator[Tracker]:
        """The run of this job: `hemacell.tracking.runs.lifecycle.track` with what is the same for all jobs."""
        kind = {DATA_KIND: self.source.kind, DATA_DIGEST: manifest.digest, THREADS: self.threads, KEY: key}
        with track(
            self.name,
            {**self.settings.canonical(), **params},
            experiment=self.settings.experiment,
            run_name=self.settings.run_name,
            tags={**kind, **(tags or {})},
            resume=self.settings.resume,
            may_change=self.settings.names(*MAY_CHANGE),
        ) as run:
            try:
                yield run
            finally:
                end_lines()

    def checkpoint(self, run: Tracker) -> Path:
        """Where the checkpoint of a run lies until it has ended well."""
        return self.cache / "checkpoints" / f"{run.run_id}.safetensors"

    def cleanup(self, run: Tracker) -> None:
        """Remove what a run that has ended well needs no more: its checkpoint."""
        self.checkpoint(run).unlink(missing_ok=True)


def start_job(name: str, settings: Given) -> RunContext[Given]:
    """Settle settings (a resumed run's are its own), data folder and threads; announces the built-in sample.

    Raises:
        UserError: no such folder or run, or the tracking server is down.
    """
    configure_logging()
    get_client()  # a server that is down is reported before any work
    if settings.resume:
        settings = _settings_of_run(settings)
    settings = settings.resolved()
    cache = cache_dir()
    source = resolve_data(settings.data, cache)
    if source.kind == "sample" and not has_open_run():
        logger.info(
            "data: the built-in sample, drawn by this package; its scores are no result (type data=DIR for real images)"
        )
    return RunContext(name, settings, source, cache, settings.threads or available_cores())


def _settings_of_run(given: Given) -> Given:
    """The settings that the run to resume was started with; warns of others that were given."""
    before = existing_run(given.resume).data.params
    known = {key: text for key, text in before.items() if key in type(given).model_fields}
    texts = given.canonical()
    execution = given.texts(Role.EXECUTION)
    defaults = type(given)().canonical()
    typed = {key: text for key, text in texts.items() if text not in (defaults[key], known.get(key, text))}
    ignored = ", ".join(f"{key}={text}" for key, text in typed.items() if key not in execution)
    if ignored:
        logger.info(f"resume: the run goes on with its own settings; {ignored} is not used")
    return type(given).from_strings({**known, **execution})
