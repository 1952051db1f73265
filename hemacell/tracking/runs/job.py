"""What every job does before and around its own work: settings, data, threads, and whether there is anything to do."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hemacell.config.groups import StepSettings
from hemacell.config.roles import IN_KEY, MAY_CHANGE, Role
from hemacell.core.cache import cache_dir
from hemacell.core.progress import end_lines
from hemacell.core.provenance import sources_digest, step_key
from hemacell.data.sources.resolve import DataSource, resolve_data
from hemacell.tracking.registry.lookup import DATA_KIND
from hemacell.tracking.runs.finished import KEY, finished_run
from hemacell.tracking.runs.lifecycle import get_client, params_of, point_to_result, track
from hemacell.tracking.runs.tracker import Tracker

if TYPE_CHECKING:
    import numpy as np

    from hemacell.data.manifest import Manifest

Settings = TypeVar("Settings", bound=StepSettings)


@dataclass(frozen=True)
class Job(Generic[Settings]):
    """A job that is about to start."""

    name: str
    settings: Settings
    source: DataSource
    cache: Path
    threads: int

    def key(self, module: str, inputs: Mapping[str, str]) -> str:
        """The digest of all that decides this job's result (see `hemacell.core.provenance`)."""
        return step_key(self.name, _sources(module), self.settings.texts(*IN_KEY), inputs, self.threads)

    def finished(self, key: str) -> str | None:
        """The run that did all this already, unless the settings ask for it again; it is then said on the screen."""
        if self.settings.force or self.settings.resume:
            return None
        run_id = finished_run(self.name, key)
        if run_id is not None:
            if not _inside_another():  # which points to its own run
                point_to_result(get_client(), run_id)
            say(f"{self.name}: run {run_id} has done exactly this already; type force=true to do it again")
        return run_id

    @contextmanager
    def open(
        self, manifest: Manifest, key: str, tags: Mapping[str, object] | None = None, **params: object
    ) -> Iterator[Tracker]:
        """The run of this job: `hemacell.tracking.runs.lifecycle.track` with what is the same for all jobs."""
        kind = {DATA_KIND: self.source.kind, "data.digest": manifest.digest, "threads": self.threads, KEY: key}
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


# A study asks for every cell; this process runs the sources that it has read.
_sources = functools.lru_cache(sources_digest)


def begin(name: str, settings: Settings) -> Job[Settings]:
    """Settle settings (a resumed run's are its own), data folder and threads; says so if it is the built-in sample.

    Raises:
        UserError: no such folder or run, or the tracking server is down.
    """
    # Fabric tells its precision in words of its own; ours is a setting, logged with the run
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    get_client()  # a server that is down is said before any work
    if settings.resume:
        known = {key: text for key, text in params_of(settings.resume).items() if key in type(settings).model_fields}
        own = type(settings).from_strings({**known, **settings.texts(Role.EXECUTION)})
        defaults = type(settings)().canonical()
        typed = {
            key: text for key, text in settings.canonical().items() if text not in (defaults[key], known.get(key, text))
        }
        ignored = ", ".join(f"{key}={text}" for key, text in typed.items() if key not in settings.names(Role.EXECUTION))
        if ignored:
            say(f"resume: the run goes on with its own settings; {ignored} is not used")
        settings = own
    cache = cache_dir()
    source = resolve_data(settings.data, cache)
    if source.kind == "sample" and not _inside_another():
        say(
            "data: the built-in sample, drawn by this package; its scores are no result (type data=DIR for real images)"
        )
    return Job(name, settings, source, cache, settings.threads or cores())


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _inside_another() -> bool:
    """Whether this job was started by another one, in this process."""
    import mlflow

    return mlflow.active_run() is not None


def said_problems(manifest: Manifest) -> dict[str, int]:
    """Count what is wrong with a set of labelled images without being an error, and say it; the counts are tags."""
    from hemacell.data.splits import conflicting_labels, duplicates_across_splits

    copies, conflicts = len(duplicates_across_splits(manifest)), len(conflicting_labels(manifest))
    if copies:
        say(f"warning: {copies} images lie in more than one split, file for file: test scores are too good")
    if conflicts:
        say(f"warning: {conflicts} images have more than one label")
    return {"data.duplicates_across_splits": copies, "data.conflicting_labels": conflicts}


def said_bad(bad: list[tuple[str, str]]) -> str:
    """List the images that could not be read; returns the list as text."""
    if bad:
        say(
            f"warning: {len(bad)} images could not be read and are left out (bad_images.txt); "
            f"the first: {bad[0][0]}: {bad[0][1]}"
        )
    return "".join(f"{' '.join(path.splitlines())}\t{reason}\n" for path, reason in bad)


def log_channel_stats(run: Tracker, pixels: np.ndarray, rows: np.ndarray) -> None:
    """Tag a run with the mean and deviation of each channel over some of the decoded images, in 0..1."""
    from hemacell.data.channel_stats import channel_stats

    mean, deviation = channel_stats(pixels[rows])
    texts = {
        name: ",".join(f"{value:.4f}" for value in values) for name, values in (("mean", mean), ("std", deviation))
    }
    run.tags({f"data.channel_{name}": text for name, text in texts.items()})
    say(f"channels (red, green, blue) of the training images: mean {texts['mean']}, deviation {texts['std']}")


def use_threads(threads: int) -> None:
    """Give torch its threads; another number gives other last digits."""
    import torch

    torch.set_num_threads(threads)


def say(line: str) -> None:
    """A line for the user, beside the results; the name of a file may hold line breaks, which are shown as blanks."""
    print(" ".join(line.splitlines()), file=sys.stderr, flush=True)


def after(job: Job[Any], run: Tracker) -> None:
    """What is left to do when a run has ended well: its checkpoint is not needed any more."""
    job.checkpoint(run).unlink(missing_ok=True)
