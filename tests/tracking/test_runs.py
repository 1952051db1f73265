"""A run of a job, from its opening to its last status, whatever ends it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hemacell
from hemacell.core.errors import UserError
from hemacell.tracking.runs import existing, lifecycle, process
from hemacell.tracking.runs.existing import finished_run
from hemacell.tracking.runs.tracker import canonical
from hemacell.tracking.schema import KEY

# Says when its run is open, then waits to be stopped.
WAITING_JOB = """
import time
from hemacell.tracking.runs.lifecycle import track

with track("wbc", {"fraction": 0.5, "resume": ""}) as run:
    print(run.run_id, flush=True)
    time.sleep(60)
"""


def get(run_id):
    import mlflow

    return mlflow.MlflowClient().get_run(run_id)


def experiment_of(run_id):
    import mlflow

    return mlflow.MlflowClient().get_experiment(get(run_id).info.experiment_id).name


@pytest.fixture(params=["sqlite", pytest.param("http", marks=pytest.mark.slow)])
def any_store(request):
    return request.getfixturevalue("store" if request.param == "sqlite" else "over_http")


def test_a_run_and_what_a_job_says_about_it(any_store, tmp_path):
    from matplotlib.figure import Figure

    (tmp_path / "notes.txt").write_text("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.txt").write_text("b")
    settings = {"fraction": 0.5, "encoders": ("prcc", "camelyon"), "force": True, "limit": None, "data": tmp_path}
    with lifecycle.track("wbc", settings, tags={"data.kind": "folder", "threads": 2}) as run:
        assert get(run.run_id).info.status == "RUNNING"
        run.metrics({"train/loss": 1.5, "val/macro_f1": 0.5}, step=1)
        run.metrics({"train/loss": 0.5}, step=2)
        run.tags({"data.digest": "0" * 64})
        run.figure(Figure(), "curves.png")
        run.figure(Figure(), "steps/10.png")
        run.text("summary", "model_summary.txt")
        run.json({"rows": []}, "predictions.json")
        run.artifact(tmp_path / "notes.txt")
        run.artifact(tmp_path / "notes.txt", "more/other.txt")
        run.artifact(tmp_path / "folder")
        run.data_input("f" * 32, "WBC_100", str(tmp_path), {"train": {"A": 3, "B": 4}, "val": {"A": 1}}, "training")
    found = get(run.run_id)
    assert experiment_of(run.run_id) == "hemacell-wbc" and found.info.status == "FINISHED"
    assert found.data.params == {
        "fraction": "0.5",
        "encoders": "prcc,camelyon",
        "force": "true",
        "limit": "",
        "data": str(tmp_path),
    }
    assert found.data.metrics == {"train/loss": 0.5, "val/macro_f1": 0.5}
    assert [m.step for m in run.client.get_metric_history(run.run_id, "train/loss")] == [1, 2]
    assert {"hemacell.job": "wbc", "threads": "2", "data.kind": "folder"}.items() <= found.data.tags.items()
    assert found.data.tags["data.digest"] == "0" * 64
    names = {file.path for file in run.client.list_artifacts(run.run_id)}
    assert names >= {"curves.png", "steps", "model_summary.txt", "predictions.json", "notes.txt", "more", "folder"}
    assert [file.path for file in run.client.list_artifacts(run.run_id, "more")] == ["more/other.txt"]
    assert [file.path for file in run.client.list_artifacts(run.run_id, "folder")] == ["folder/b.txt"]
    (data_input,) = found.inputs.dataset_inputs
    assert (data_input.dataset.name, data_input.dataset.digest) == ("WBC_100: 7 train, 1 val", "f" * 32)
    assert '"train_images": 7' in data_input.dataset.profile and data_input.tags[0].value == "training"


def test_a_digest_that_mlflow_would_cut_is_refused(store):
    with lifecycle.track("wbc", {}) as run, pytest.raises(ValueError, match="at most 36"):
        run.data_input("f" * 64, "WBC", "/", {}, "training")


def test_json_holds_no_nan(store):
    with lifecycle.track("wbc", {}) as run, pytest.raises(ValueError, match="JSON compliant"):
        run.json({"probability": float("nan")}, "predictions.json")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (1.0, "1.0"),
        (1e-05, "1e-05"),
        (3, "3"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        ("a b", "a b"),
    ],
)
def test_canonical_text_of_a_setting(value, text):
    assert canonical(value) == text


def test_lists_are_joined_and_mappings_refused():
    assert canonical(["prcc", "camelyon"]) == "prcc,camelyon" and canonical([0.01, 1.0]) == "0.01,1.0"
    with pytest.raises(TypeError, match="dict"):
        canonical({"a": 1})


def test_failures_are_marked_and_told(store):
    with pytest.raises(ZeroDivisionError), lifecycle.track("wbc", {}) as broken:
        1 / 0  # noqa: B018
    with pytest.raises(UserError), lifecycle.track("wbc", {}) as wrong:
        raise UserError("expected this, found that: type this")
    with pytest.raises(SystemExit), lifecycle.track("wbc", {}) as left:
        sys.exit(3)
    for run, error in (
        (broken, "ZeroDivisionError: division by zero"),
        (wrong, "expected this, found that: type this"),
    ):
        assert (get(run.run_id).info.status, get(run.run_id).data.tags["hemacell.error"]) == ("FAILED", error)
    assert get(left.run_id).info.status == "FAILED"


def test_children_stay_with_their_parent(store):
    with lifecycle.track("study", {}, experiment="mine") as parent:
        with lifecycle.track("wbc", {}) as child:
            pass
        assert get(parent.run_id).info.status == "RUNNING"
    with lifecycle.track("wbc", {}, parent=parent.run_id) as late:
        pass
    for run in (child, late):
        assert get(run.run_id).data.tags["mlflow.parentRunId"] == parent.run_id
        assert experiment_of(run.run_id) == "mine"


def test_who_names_the_experiment(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    for given, expected in (("", "theirs"), ("typed", "typed"), ("", "theirs")):
        with lifecycle.track("wbc", {}, experiment=given) as run:
            assert "MLFLOW_EXPERIMENT_NAME" not in os.environ
        assert experiment_of(run.run_id) == expected


@pytest.mark.parametrize(("outer_in", "ours_in"), [("Default", "hemacell-wbc"), ("named", "named")])
def test_inside_mlflow_run(store, monkeypatch, outer_in, ours_in):
    import mlflow

    client = mlflow.MlflowClient()
    experiment = "0" if outer_in == "Default" else client.create_experiment(outer_in)
    outer = client.create_run(experiment).info.run_id
    client.log_param(outer, "encoders", "'prcc,camelyon'")
    monkeypatch.setenv("MLFLOW_RUN_ID", outer)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    with lifecycle.track("wbc", {"encoders": "prcc,camelyon"}) as run:
        assert not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"} & os.environ.keys()
        with lifecycle.track("prcc", {}):
            pass
    assert run.run_id != outer and experiment_of(run.run_id) == ours_in
    assert get(outer).info.status == "RUNNING"  # its maker ends it
    assert get(outer).data.tags["hemacell.result"] == run.run_id
    assert get(outer).data.params == {"encoders": "'prcc,camelyon'"}


def test_a_run_id_that_leads_nowhere(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(UserError, match="unset it"), lifecycle.track("wbc", {}):
        pass


def test_a_deleted_experiment(store):
    import mlflow

    client = mlflow.MlflowClient()
    client.delete_experiment(client.create_experiment("hemacell-wbc"))
    with pytest.raises(UserError, match="was deleted: type mlflow experiments restore"), lifecycle.track("wbc", {}):
        pass


def test_resume_reopens_the_run(store):
    with pytest.raises(ValueError, match="x"), lifecycle.track("wbc", {"fraction": 0.5, "resume": ""}) as first:
        first.metrics({"train/loss": 2.0}, step=1)
        raise ValueError("x")
    settings = {"fraction": 0.5, "resume": first.run_id}
    with lifecycle.track("wbc", settings, resume=first.run_id) as second:
        second.metrics({"train/loss": 1.0}, step=2)
        assert get(first.run_id).info.status == "RUNNING" and "hemacell.error" not in get(first.run_id).data.tags
    found = get(first.run_id)
    assert second.run_id == first.run_id and found.info.status == "FINISHED"
    assert found.data.params == {"fraction": "0.5", "resume": ""} == existing.existing_run(first.run_id).data.params
    assert [m.value for m in first.client.get_metric_history(first.run_id, "train/loss")] == [2.0, 1.0]


def test_what_cannot_be_resumed(store):
    with lifecycle.track("prcc", {"size": 64}) as run:
        pass
    refused = [
        ("prcc", {"size": 96}, run.run_id, "started with size=64, not size=96"),
        ("wbc", {}, run.run_id, "a run of prcc, not of wbc"),
        ("wbc", {}, "0" * 32, "there is no run"),
        ("wbc", {}, "no/such", "there is no run"),
    ]
    for job, settings, run_id, line in refused:
        with pytest.raises(UserError, match=line), lifecycle.track(job, settings, resume=run_id):
            pass
    run.client.delete_run(run.run_id)
    with pytest.raises(UserError, match="was deleted"), lifecycle.track("prcc", {}, resume=run.run_id):
        pass
    with pytest.raises(UserError, match="there is no run"):
        existing.existing_run("0" * 32)


def test_a_run_that_still_runs_is_not_resumed(store, job):
    other = job(WAITING_JOB, store)
    run_id = other.stdout.readline().strip()
    with (
        pytest.raises(UserError, match=rf"still RUNNING on .* \(kill {other.pid}\)"),
        lifecycle.track("wbc", {}, resume=run_id),
    ):
        pass
    assert get(run_id).info.status == "RUNNING"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_job_that_is_stopped_is_marked_killed(store, job, number, code):
    waiting = job(WAITING_JOB, store)
    run_id = waiting.stdout.readline().strip()
    waiting.send_signal(number)
    _, err = waiting.communicate(timeout=300)
    assert waiting.returncode == code, err
    assert err.splitlines() == [f"stopped by {number.name}: run {run_id} is marked KILLED; go on with resume={run_id}"]
    assert get(run_id).info.status == "KILLED"


def test_an_interrupt_of_any_source_is_no_failure(store):
    with pytest.raises(SystemExit, match="130"), lifecycle.track("wbc", {}) as run:
        raise KeyboardInterrupt
    assert get(run.run_id).info.status == "KILLED"


def test_both_parent_and_child_are_marked_killed_by_two_signals(store, job):
    waiting = job(
        """
import time
from hemacell.tracking.runs.lifecycle import track

with track("study", {}) as parent, track("wbc", {}) as child:
    print(parent.run_id, child.run_id, flush=True)
    time.sleep(60)
""",
        store,
    )
    ids = waiting.stdout.readline().split()
    waiting.send_signal(signal.SIGINT)
    waiting.send_signal(signal.SIGTERM)
    _, err = waiting.communicate(timeout=300)
    assert waiting.returncode in (130, 143) and len(err.splitlines()) == 1, err
    assert [get(run_id).info.status for run_id in ids] == ["KILLED", "KILLED"]


def test_a_forked_worker_that_is_stopped_leaves_the_run_alone(store, job):
    done = job(
        """
import multiprocessing, os, time
from hemacell.tracking.runs.lifecycle import track

with track("wbc", {}) as run:
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    time.sleep(0.2)
    worker.terminate()
    worker.join()
    print(run.run_id, worker.exitcode, run.client.get_run(run.run_id).info.status, flush=True)
""",
        store,
    )
    out, err = done.communicate(timeout=300)
    run_id, exit_code, status = out.split()
    assert (exit_code, status, get(run_id).info.status) == ("-15", "RUNNING", "FINISHED"), err


def test_the_next_start_marks_what_sigkill_left(store, job, monkeypatch):
    import mlflow

    outer = mlflow.MlflowClient().create_run("0").info.run_id
    killed = job(WAITING_JOB, store, MLFLOW_RUN_ID=outer, MLFLOW_EXPERIMENT_ID="0")
    run_id = killed.stdout.readline().strip()
    killed.kill()
    killed.wait()
    assert [get(run).info.status for run in (run_id, outer)] == ["RUNNING", "RUNNING"]
    # Another machine's runs are nobody's business here.
    elsewhere = mlflow.MlflowClient().create_run("0", tags={**process.process_tags(), process.HOST: "x"}).info.run_id
    with lifecycle.track("prcc", {}) as alive:
        assert [get(run).info.status for run in (run_id, outer)] == ["KILLED", "KILLED"]
        assert process.mark_stale_runs() == []
    assert get(elsewhere).info.status == "RUNNING" and get(alive.run_id).info.status == "FINISHED"
    with lifecycle.track("wbc", {"fraction": 0.5}, resume=run_id):
        pass
    assert get(run_id).info.status == "FINISHED"


def test_a_pid_that_was_used_again_is_another_process():
    tags = process.process_tags()
    assert process.is_alive(tags)
    assert not process.is_alive({**tags, process.STARTED: str(float(tags[process.STARTED]) - 3600)})


def test_system_metrics_do_not_come_first(store, monkeypatch):
    import mlflow

    monkeypatch.delenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with lifecycle.track("wbc", {}) as run:
        time.sleep(1)
        assert get(run.run_id).data.metrics == {}
        run.metrics({"val/macro_f1": 0.5})
        for _ in range(100):
            if len(get(run.run_id).data.metrics) > 1:
                break
            time.sleep(0.1)
    # in the order in which they were logged first, which MLflow's comparison keeps
    listed = list(mlflow.MlflowClient().get_run(run.run_id).data.metrics)
    assert listed[0] == "val/macro_f1" and "system/cpu_utilization_percentage" in listed


def test_finished_work_is_found(store):
    assert finished_run("wbc", "k") is None
    with lifecycle.track("wbc", {}, tags={KEY: "k"}) as empty:
        pass
    assert finished_run("wbc", "k") is None, "it has no files"
    with lifecycle.track("wbc", {}, tags={KEY: "k"}) as whole:
        whole.text("a", "a.txt")
    with pytest.raises(ValueError, match="x"), lifecycle.track("wbc", {}, tags={KEY: "k"}) as failed:
        failed.text("a", "a.txt")
        raise ValueError("x")
    assert finished_run("wbc", "k") == whole.run_id
    assert finished_run("wbc", "other") is None and finished_run("prcc", "k") is None
    empty.client.delete_run(whole.run_id)
    assert finished_run("wbc", "k") is None


def test_nothing_heavy_is_imported():
    code = (
        "import sys, hemacell.tracking.runs.lifecycle, hemacell.tracking.registry, hemacell.tracking.runs.existing\n"
        "print([m for m in ('torch', 'torchvision', 'timm', 'sklearn', 'matplotlib', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_this_package_imports_mlflow():
    package = re.compile(r"^\s*(import|from) mlflow", re.MULTILINE)
    root = Path(hemacell.__file__).parent
    users = {path.relative_to(root).parts[0] for path in root.rglob("*.py") if package.search(path.read_text())}
    assert users <= {"tracking"}
