"""A job inside a real `mlflow run`: two runs, each with the right status, whatever ends them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

JOB = """
import os, sys, time
from hemacell.tracking.runs.lifecycle import track

with track("wbc", {"encoders": sys.argv[1], "resume": ""}) as run:
    print(f"ours={run.run_id}", f"pid={os.getpid()}", flush=True)
    if sys.argv[2] == "fail":
        raise ValueError("x")
    if sys.argv[2] == "wait":
        time.sleep(60)
"""

PROJECT = """
name: jobs
entry_points:
  wbc:
    parameters:
      encoders: {type: string, default: "prcc,camelyon"}
      then: {type: string, default: "end"}
    command: "python job.py {encoders} {then}"
"""


@pytest.fixture
def mlflow_run(store, tmp_path, plain):
    """Start `mlflow run` on a project of one job; returns (process, our run id, the job's PID)."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text(PROJECT)
    (project / "job.py").write_text(JOB)
    environment = {
        **plain,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{plain['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "MLFLOW_TRACKING_URI": store,
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    }
    started = []

    def start(then: str, *options: str):
        command = [sys.executable, "-m", "mlflow", "run", ".", "--env-manager", "local", "-e", "wbc"]
        process = subprocess.Popen(
            [*command, "-P", f"then={then}", *options],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            # As in a terminal, also where the tests run in the background, with this signal ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        for line in process.stdout:
            if line.startswith("ours="):
                ours, pid = (part.partition("=")[2] for part in line.split())
                return process, ours, int(pid)
        pytest.fail("the job did not start")

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def both(ours: str):
    """Our run, and the one that `mlflow run` made for it."""
    import mlflow

    client = mlflow.MlflowClient()
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (outer,) = client.search_runs(ids, f"tags.`hemacell.result` = '{ours}'")
    return client.get_run(ours), outer


def test_the_outer_run_points_to_ours(mlflow_run):
    process, ours, _ = mlflow_run("end")
    assert process.wait(300) == 0
    run, outer = both(ours)
    assert (run.info.status, outer.info.status, outer.info.experiment_id) == ("FINISHED", "FINISHED", "0")
    assert run.data.params["encoders"] == "prcc,camelyon" and run.info.experiment_id != "0"


def test_an_experiment_named_on_the_command_line_is_ours_too(mlflow_run):
    process, ours, _ = mlflow_run("end", "--experiment-name", "mine")
    assert process.wait(300) == 0
    run, outer = both(ours)
    assert run.info.experiment_id == outer.info.experiment_id != "0"


def test_a_failure_fails_both(mlflow_run):
    process, ours, _ = mlflow_run("fail")
    assert process.wait(300) == 1
    assert [run.info.status for run in both(ours)] == ["FAILED", "FAILED"]


def test_ctrl_c_in_the_terminal_ends_both(mlflow_run):
    process, ours, pid = mlflow_run("wait")
    job = psutil.Process(pid)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(300)
    psutil.wait_procs([job], timeout=60)  # `mlflow run` waits for its shell only: the job may end after it
    # `mlflow run` writes FAILED into its own run whatever we wrote there before it ends
    assert [run.info.status for run in both(ours)] == ["KILLED", "FAILED"]


def test_a_power_cut_is_made_good_by_the_next_start(mlflow_run):
    process, ours, _ = mlflow_run("wait")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(300)
    assert [run.info.status for run in both(ours)] == ["RUNNING", "RUNNING"]
    following, _, _ = mlflow_run("end")
    assert following.wait(300) == 0
    assert [run.info.status for run in both(ours)] == ["KILLED", "KILLED"]


def test_a_job_whose_mlflow_run_was_killed_still_ends_its_own_run(mlflow_run):
    process, ours, pid = mlflow_run("wait")
    process.kill()
    process.wait(300)
    os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        if [run.info.status for run in both(ours)] == ["KILLED", "KILLED"]:
            return
        time.sleep(0.1)
    pytest.fail(f"still {[run.info.status for run in both(ours)]}")
