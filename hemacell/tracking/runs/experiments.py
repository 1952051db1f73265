"""Which experiment a new run belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.tracking.runs.mlflow_environment import Launch
from hemacell.tracking.runs.notes import describe_experiment
from hemacell.tracking.schema import EXPERIMENT
from hemacell.tracking.store import artifact_location

if TYPE_CHECKING:
    from mlflow import MlflowClient


def experiment_for(client: MlflowClient, job: str, given: str, launch: Launch) -> str:
    """Id of the experiment of a run without a parent; it is created where it does not exist yet.

    Args:
        client: of the store.
        job: names the experiment where the user does not.
        given: name in the setting `experiment`, '' without it.
        launch: what MLflow's environment variables named.

    Raises:
        UserError: the experiment was deleted.
    """
    if not given and not launch.experiment_name and launch.experiment_id:
        return launch.experiment_id
    return _named(client, given or launch.experiment_name or EXPERIMENT.format(job=job), job)


def _named(client: MlflowClient, name: str, job: str) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            created = client.create_experiment(name, artifact_location(name, mlflow.get_tracking_uri()))
            describe_experiment(client, created, job)
            return created
        except MlflowException as error:
            # Another job may have created it in between.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment {name!r} was deleted: type mlflow experiments restore --experiment-id "
            f"{found.experiment_id}, or give another name (experiment=…)"
        )
    return found.experiment_id
