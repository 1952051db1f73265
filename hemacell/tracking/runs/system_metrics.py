"""System metrics that do not come first: MLflow's comparison opens on the first metric that a run has logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import MlflowClient

from hemacell.tracking.store import lost_server, stop_retrying


class LateMonitor(SystemMetricsMonitor):
    """MLflow's monitor, which holds its samples back until the run has a metric of its own.

    What was held back is logged as one value: the mean since the start of the run.
    """

    released = False

    def publish_metrics(self, metrics: dict[str, float]) -> None:
        if not self.released:
            logged = MlflowClient(self._tracking_uri).get_run(self._run_id).data.metrics
            self.released = any(not name.startswith(self._metrics_prefix) for name in logged)
        if self.released:
            super().publish_metrics(metrics)


@contextmanager
def system_metrics(run_id: str, resumed: bool = False) -> Iterator[None]:
    """Log system metrics of a run while this is open, unless MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is false."""
    setting = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
    if setting.is_set() and not setting.get():
        yield
        return
    monitor = LateMonitor(run_id, resume_logging=resumed)
    monitor.start()
    try:
        yield
    except BaseException as error:
        if lost_server(error):
            stop_retrying()
        raise
    finally:
        monitor.finish()
