"""Where runs go, and what is said where they cannot."""

import errno
import http.server
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.core.git import checkout_state
from hemacell.tracking import store
from hemacell.tracking.runs import lifecycle


def test_without_a_setting_runs_go_to_the_projects_sqlite(quiet, tmp_path, monkeypatch, empty_database):
    import mlflow

    project = tmp_path / "a project"
    (project / "notebooks").mkdir(parents=True)
    (project / "MLproject").touch()
    shutil.copy(empty_database, project / "mlflow.db")
    monkeypatch.chdir(project / "notebooks")
    with lifecycle.track("wbc", {}) as run:
        run.text("a", "a.txt")
    assert mlflow.get_tracking_uri() == f"sqlite:///{project / 'mlflow.db'}"
    assert (project / "mlruns" / "hemacell-wbc" / run.run_id / "artifacts" / "a.txt").read_text() == "a"
    assert not list((project / "notebooks").iterdir())


def test_the_default_is_here_where_there_is_no_project(tmp_path):
    assert store.default_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"


@pytest.mark.parametrize(
    ("uri", "line"),
    [
        ("http://127.0.0.1:9", "no MLflow server answers at http://127.0.0.1:9: start it"),
        ("./mlruns", "no longer writes runs to"),
        ("sqlite:////no/such/folder/mlflow.db", "there is no folder /no/such/folder"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_at_once(quiet, monkeypatch, uri, line):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.monotonic()
    with pytest.raises(UserError, match=line) as caught, lifecycle.track("wbc", {}):
        pass
    assert time.monotonic() - started < 5 and "\n" not in str(caught.value)


def test_some_other_server(quiet):
    class NotMlflow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), NotMlflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(UserError, match=r"is not an MLflow server \(GET /health: 404\)"):
        store.check_server(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()


def test_a_full_disk_is_one_line_and_the_run_has_failed(store):
    line = r"the disk is full \(writing /x/a.png\): free some space, then go on with resume="
    with pytest.raises(UserError, match=line), lifecycle.track("wbc", {"resume": ""}) as run:
        raise OSError(errno.ENOSPC, "No space left on device", "/x/a.png")
    assert run.client.get_run(run.run_id).info.status == "FAILED"


def test_other_errors_are_left_as_they_are(store):
    with pytest.raises(OSError, match="Permission"), lifecycle.track("wbc", {}):
        raise OSError(errno.EACCES, "Permission denied", "/x")


@pytest.mark.slow
def test_a_server_that_dies_on_the_way_ends_the_job_with_a_line(other_server, job):
    url, process = other_server
    script = """
import sys
from hemacell.core.errors import UserError
from hemacell.tracking.runs.lifecycle import track

try:
    with track("wbc", {"resume": ""}) as run:
        print(run.run_id, flush=True)
        sys.stdin.readline()
        run.metrics({"train/loss": 1.0})
except UserError as line:
    print(line)
"""
    waiting = job(script, url)
    run_id = waiting.stdout.readline().strip()
    os.killpg(process.pid, signal.SIGKILL)
    started = time.monotonic()
    out, err = waiting.communicate("\n", timeout=300)
    assert out.strip() == (
        f"the MLflow server at {url} stopped answering: check that it runs, then go on with resume={run_id}"
    )
    assert f"run {run_id} could not be marked as FAILED" in err and "Traceback" not in err
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(("state", "dirty"), [("clean", False), ("changed", True), ("untracked", True)])
def test_the_commit_and_whether_it_is_what_ran(tmp_path, state, dirty):
    package = tmp_path / "hemacell"
    package.mkdir()
    (package / "__init__.py").touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    assert checkout_state(package) is None, "not in a checkout"
    subprocess.run([*git, "init", "-q"], check=True)
    assert checkout_state(package) is None, "in somebody else's checkout"
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "a"], check=True)
    if state != "clean":
        (package / ("__init__.py" if state == "changed" else "new.py")).write_text("x = 1\n")
    found = checkout_state(package)
    assert found is not None and found[1] is dirty and len(found[0]) == 40


def test_no_git_is_fine(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkout_state(Path(store.__file__).parent) is None
