"""Files that runs have written outside of MLflow: whose they are, by the digests in the tags of the runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hemacell.core.errors import UserError
from hemacell.tracking.runs.existing import existing_run
from hemacell.tracking.schema import JOB, KEY
from hemacell.tracking.store import experiment_ids, get_client


@dataclass(frozen=True)
class Writer:
    """A run that wrote a file."""

    run_id: str
    finished: bool
    tags: Mapping[str, str]


def writers_of(job: str, tag: str, digest: str) -> list[Writer]:
    """The runs of a job that note a file's digest under a tag, the newest first."""
    client = get_client()
    text = f"tags.`{JOB}` = '{job}' and tags.`{tag}` = '{digest}'"
    found = client.search_runs(experiment_ids(client), text, order_by=["attributes.start_time DESC"])
    return [Writer(run.info.run_id, run.info.status == "FINISHED", run.data.tags) for run in found]


def can_go_on(job: str, run_id: str, key: str) -> bool:
    """Whether a run is of this job and key, and was stopped or failed; False for one that is not known here."""
    if not run_id:
        return False
    try:
        run = existing_run(run_id)
    except UserError:  # of another store, or deleted
        return False
    same = run.data.tags.get(JOB) == job and run.data.tags.get(KEY) == key
    return same and run.info.status in ("KILLED", "FAILED")
