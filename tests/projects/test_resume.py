"""A run that was killed goes on, and ends with the very numbers that it would have had."""

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hemacell.training.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

STEPS = 60
SETTINGS = {
    "steps": STEPS,
    "num_evals": 6,
    "checkpoint_seconds": 0,
    "encoders": "random-prcc",
    "checkpoint_selection": "best",
    "register_model": False,
    "force": True,
}
# what a clock decides
CLOCK = ("images_per_second", "train_seconds")


@pytest.fixture(scope="module")
def own(new_store):
    return new_store("resume")


@pytest.fixture
def start(own, tmp_path):
    """Start `python -m projects.wbc` in a process of its own."""
    started: list[subprocess.Popen] = []

    def start(**more: object) -> subprocess.Popen:
        with (tmp_path / f"printed{len(started)}").open("w") as printed:
            process = subprocess.Popen(
                own.command("wbc", **SETTINGS | more),
                cwd=tmp_path,
                env={**own.environment, "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"},
                stdout=printed,
                stderr=subprocess.STDOUT,
                text=True,
            )
        process.printed = Path(printed.name)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def running(own, process):
    """The one run that is RUNNING, as soon as the process has opened it."""
    while process.poll() is None:
        with contextlib.suppress(ValueError):
            (run,) = own.runs("attributes.status = 'RUNNING'")
            return run.info.run_id
        time.sleep(0.1)
    pytest.fail(process.printed.read_text())


def wait_for_step(own, process, run_id: str, step: int) -> None:
    """Wait until the checkpoint of a run has come so far."""
    file = own.cache / "checkpoints" / f"{run_id}.safetensors"
    while process.poll() is None:
        if file.exists() and load_checkpoint(file)[1]["step"] >= step:
            return
        time.sleep(0.02)
    pytest.fail(process.printed.read_text())


def outcome(own, run_id: str) -> tuple[dict[str, float], str, list[tuple[int, float]]]:
    run = own.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    metrics = {name: value for name, value in run.data.metrics.items() if name not in CLOCK}
    losses = {(each.step, each.value) for each in own.client.get_metric_history(run_id, "train/loss")}
    return metrics, own.files(run_id)["predictions.json"].read_text(), sorted(losses)


def test_a_killed_run_goes_on_to_the_very_same_numbers(own, start):
    process = start()
    run_id = running(own, process)
    wait_for_step(own, process, run_id, 13)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert own.client.get_run(run_id).info.status == "RUNNING"

    # the next start, whatever it is, marks the run
    with own.here():
        from hemacell.tracking.runs.process import mark_stale_runs

        assert mark_stale_runs() == [run_id]
    assert own.client.get_run(run_id).info.status == "KILLED"

    process = start(resume=run_id)
    assert running(own, process) == run_id
    wait_for_step(own, process, run_id, 31)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    words = f"stopped by SIGTERM: run {run_id} is marked KILLED; go on with resume={run_id}"
    assert process.printed.read_text().splitlines()[-1] == words
    assert own.client.get_run(run_id).info.status == "KILLED"

    # only the id is needed: the settings are the run's own
    process = start(resume=run_id, steps=5, fraction=0.3, learning_rate=1)
    assert process.wait() == 0, process.printed.read_text()
    assert f"{STEPS} steps in " in process.printed.read_text()
    (told,) = [line for line in process.printed.read_text().splitlines() if line.startswith("resume:")]
    assert all(f"{name}=" in told for name in ("steps", "fraction", "learning_rate")) and "is not used" in told
    assert not (own.cache / "checkpoints" / f"{run_id}.safetensors").exists()

    process = start()
    assert process.wait() == 0, process.printed.read_text()
    (unbroken,) = [run.info.run_id for run in own.runs() if run.info.run_id != run_id]
    assert outcome(own, run_id) == outcome(own, unbroken)
    assert len(outcome(own, run_id)[2]) == SETTINGS["num_evals"]
    assert "hemacell.error" not in own.client.get_run(run_id).data.tags


def test_a_run_that_is_still_at_work_is_not_resumed(own, start):
    process = start(steps=10**6)
    run_id = running(own, process)
    second = start(resume=run_id)
    assert second.wait() == 2
    assert f"error: run {run_id} is still RUNNING" in second.printed.read_text()
    process.send_signal(signal.SIGTERM)  # a shell's background job ignores SIGINT, and so would the child of a test
    assert process.wait() == 128 + signal.SIGTERM
    assert own.client.get_run(run_id).info.status == "KILLED"
