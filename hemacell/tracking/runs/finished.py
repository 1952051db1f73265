"""Find work that is done already. Imports MLflow and nothing heavier: a command with nothing to do answers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.tracking.registry.lookup import exists, resolve
from hemacell.tracking.schema import JOB, KEY, REGISTERED
from hemacell.tracking.store import experiment_ids, get_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def finished_run(job: str, key: str) -> str | None:
    """Id of the newest FINISHED run of `job` with this key whose results are still there, or None.

    Still there means: the run has files, and the model that it registered, if it did, is in the registry and has its
    files.

    Args:
        job: `prcc`, `camelyon`, `wbc`, …
        key: what the job set as tag `hemacell.key`: a digest of inputs, settings and sources.
    """
    client = get_client()
    found = client.search_runs(
        experiment_ids(client),
        f"attributes.status = 'FINISHED' and tags.`{JOB}` = '{job}' and tags.`{KEY}` = '{key}'",
        order_by=["attributes.start_time DESC"],
    )
    return next((run.info.run_id for run in found if _is_whole(client, run)), None)


def _is_whole(client: MlflowClient, run: Run) -> bool:
    if not client.list_artifacts(run.info.run_id):
        return False
    registered = run.data.tags.get(REGISTERED)
    if not registered:
        return True
    try:
        return exists(resolve(registered))
    except UserError:  # the version was deleted
        return False
