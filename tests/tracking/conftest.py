"""An empty store for each test, one server for all, and two tiny models in a made-up folder format."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
FAKES = Path(__file__).parent / "fakes"
STAND_INS = {
    "hemacell.classifiers.folder": FAKES / "predictor.py",
    "hemacell.encoders.frozen": FAKES / "frozen.py",
}


def plain_environment() -> dict[str, str]:
    """The caller's environment without its settings of MLflow and of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HEMACELL_"))}


@pytest.fixture
def plain() -> dict[str, str]:
    return plain_environment()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """MLflow needs many seconds to make its tables: once is enough."""
    import mlflow

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def quiet(monkeypatch, tmp_path):
    """No setting of the caller, none of an earlier test; the working folder is empty."""
    import mlflow

    from hemacell.tracking.runs import mlflow_environment

    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "HEMACELL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    monkeypatch.setattr(mlflow_environment, "_launch", mlflow_environment.Launch())
    monkeypatch.chdir(tmp_path)
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    # They are set for children of the process, and must not outlive the test.
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]


@pytest.fixture
def store(quiet, tmp_path, empty_database) -> str:
    """The URI of an empty SQLite store."""
    import mlflow

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    return uri


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running_server(folder: Path, database: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    shutil.copy(database, folder / "server.db")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--serve-artifacts", "-w", "1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "a"),
    ]
    environment = {**plain_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log.txt").open("w") as log:
        # Its workers are in its session, so that all of them can be stopped at once.
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health", timeout=5)
                break
            assert process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        yield url, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory, empty_database) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("server"), empty_database) as (url, _):
        yield url


@pytest.fixture
def over_http(quiet, server) -> str:
    import mlflow

    mlflow.set_tracking_uri(server)
    return server


@pytest.fixture
def stand_ins(monkeypatch):
    """Put the made-up models in the place of the real ones, here and in the sources that travel with a model."""
    from hemacell.tracking.registry import registration

    for name, path in STAND_INS.items():
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, name, module)
    copy_package = registration.copy_package

    def copy_with_stand_ins(target: Path) -> Path:
        package = copy_package(target)
        for name, path in STAND_INS.items():
            shutil.copy(path, package.parent / (name.replace(".", "/") + ".py"))
        return package

    monkeypatch.setattr(registration, "copy_package", copy_with_stand_ins)


@pytest.fixture
def classifier(tmp_path) -> Path:
    folder = tmp_path / "a classifier"
    folder.mkdir()
    settings = {"classes": ["Eosinophil", "Lymphocyte"], "confidence_threshold": 0.9, "sharpness": 8}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def encoder(tmp_path) -> Path:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "an encoder"
    folder.mkdir()
    save_file({"scale": torch.arange(1, 7).float()}, folder / "weights.safetensors")
    return folder


@pytest.fixture
def other_server(tmp_path, empty_database):
    """A server that a test may kill: (url, process)."""
    folder = tmp_path / "server"
    folder.mkdir()
    with running_server(folder, empty_database) as both:
        yield both


@pytest.fixture
def job(tmp_path):
    """Start a script in a process of its own, by default with our sources on its path."""
    started: list[subprocess.Popen] = []

    def start(script: str, uri: str, *, sources: Path = REPO, **environment: str) -> subprocess.Popen:
        folder = tmp_path / f"job{len(started)}"
        folder.mkdir()
        (folder / "job.py").write_text(script)
        process = subprocess.Popen(
            [sys.executable, "job.py"],
            cwd=folder,
            env={
                **plain_environment(),
                "PYTHONPATH": str(sources),
                "MLFLOW_TRACKING_URI": uri,
                "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # a shell's background job ignores SIGINT, and would hand that on
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
