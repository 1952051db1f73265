"""MLflow's own pages, as a person sees them after `make demo`, in headless Chromium."""

import html
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import mlflow
import numpy as np
import pytest
from PIL import Image

from hemacell.evaluation.metrics import classification_metrics
from hemacell.reporting import figures
from hemacell.tracking.runs import links, notes
from hemacell.tracking.runs.lifecycle import track
from hemacell.tracking.runs.tracker import Tracker

if TYPE_CHECKING:
    from mlflow.entities import Run

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
RUNS = {
    "none 50 % draw 0": {"fraction": "0.5", "encoders": "none", "draw": "0", "seed": "0"},
    "prcc,camelyon 50 % draw 0": {"fraction": "0.5", "encoders": "prcc,camelyon", "draw": "0", "seed": "0"},
}
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1600,1800",
    "--virtual-time-budget=20000",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None, reason="no chromium on PATH (Debian: apt-get install chromium)"
    ),
]


@dataclass(frozen=True)
class Store:
    """A tracking store with finished runs."""

    uri: str
    artifacts: Path
    experiment: str
    parent: str
    runs: dict[str, str]  # name -> id
    metrics: dict[str, dict[str, float]]  # name -> what was logged at the end


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """What `make demo` leaves, without its training: two classifiers under one run, opened and closed as jobs do."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MLFLOW_", "HEMACELL_"))]:
            patch.delenv(name)
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        runs: dict[str, str] = {}
        logged: dict[str, dict[str, float]] = {}
        with track("main", {"fraction": 0.5}, tags={"data.kind": "sample"}) as parent:
            for number, (name, params) in enumerate(RUNS.items()):
                with track("wbc", params, tags={"data.kind": "sample"}) as run:
                    logged[name] = classifier(run, number)
                    runs[name] = run.run_id
        yield Store(
            f"sqlite:///{folder}/mlflow.db", folder / "mlruns", parent.experiment_id, parent.run_id, runs, logged
        )
    mlflow.set_tracking_uri(None)


def classifier(run: Tracker, number: int) -> dict[str, float]:
    """Log what a classifier logs; returns its metrics on test."""
    history: list[dict[str, float]] = [
        {
            "step": epoch,
            "val/macro_f1": 1 - 0.6 / epoch,
            "train/loss": (2 - number) / epoch,
            "val/loss": (2.2 - number) / epoch,
            "val/accuracy": 1 - 0.5 / epoch,
            "lr": 0.002 / epoch,
            "images_per_second": 240.0,
        }
        for epoch in range(1, 6)
    ]
    time.sleep(0.5)  # system metrics are ready first
    for row in history:
        run.metrics({key: value for key, value in row.items() if key != "step"}, int(row["step"]))
    time.sleep(0.5)
    labels, p = answers(number)
    at_the_end = {f"test/{key}": value for key, value in classification_metrics(labels, p, CLASSES).items()}
    run.metrics(at_the_end, 5)
    run.figure(figures.loss_curves(history), "loss_curves.png")
    run.figure(figures.confusion_matrix(labels, p.argmax(1), CLASSES), "confusion_matrix.png")
    return at_the_end


def answers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(200) % 5
    logits = rng.normal(0, 1.3, (200, 5))
    logits[np.arange(200), labels] += 2 + seed
    p = np.exp(logits)
    return labels, p / p.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def server(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `mlflow server` on a free port of the loopback; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--artifacts-destination", str(store.artifacts)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,  # its workers end with it
        )
    try:
        wait_for(address, process, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    raise AssertionError(f"no answer from the server within {seconds:.0f} s:\n{log.read_text()}")


def browse(url: str, folder: Path) -> tuple[np.ndarray, list[str]]:
    """What Chromium shows at `url`: the picture, uint8 [H, W, 3], and the page's text after its scripts ran."""
    picture = folder / "page.png"
    command = ["chromium", *CHROMIUM_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    # one call for both: what is checked in the text is what the picture shows
    done = subprocess.run(
        [*command, f"--screenshot={picture}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert picture.exists(), f"no picture:\n{done.stderr}"
    visible = re.sub(r"<(script|style)\b.*?</\1>", " ", done.stdout, flags=re.DOTALL | re.IGNORECASE)
    pieces = html.unescape(re.sub(r"<[^>]+>", "\n", visible)).splitlines()
    return np.asarray(Image.open(picture).convert("RGB")), [piece.strip() for piece in pieces if piece.strip()]


def compare_url(server: str, runs: list[str], experiment: str) -> str:
    infos = [SimpleNamespace(info=SimpleNamespace(run_id=run, experiment_id=experiment)) for run in runs]
    return f"{server}/{links.compare_link(cast('list[Run]', infos))}"


def section(words: list[str], heading: str, following: str) -> list[str]:
    """The pieces of text between two headings of the page, the last of each name."""

    def last(word: str) -> int:
        return len(words) - 1 - words[::-1].index(word)

    return words[last(heading) + 1 : last(following)]


def rows_of_ink(picture: np.ndarray, band: int = 100) -> list[int]:
    """Number of dark pixels in each band of that many rows."""
    dark = picture.max(2) < 110
    return [int(dark[top : top + band].sum()) for top in range(0, len(dark) - band + 1, band)]


def test_the_comparison_page_shows_both_runs(store: Store, server: str, tmp_path: Path) -> None:
    picture, words = browse(compare_url(server, list(store.runs.values()), store.experiment), tmp_path)
    first, second = RUNS

    assert "Comparing 2 Runs from 1 Experiment" in words
    assert "hemacell-main" in words
    # the first plot is of a score, not of the processor
    plotted = section(words, "Metrics:", "Clear All")
    assert "val/macro_f1" in plotted and not any(word.startswith("system/") for word in plotted)
    details = section(words, "Run details", "Parameters")
    assert details[:3] == ["Run ID:", *store.runs.values()]
    assert details[3:6] == ["Run Name:", first, second]

    params = section(words, "Parameters", "Metrics")[1:]  # after the switch "Show diff only"
    assert params == [word for key in sorted(RUNS[first]) for word in (key, RUNS[first][key], RUNS[second][key])]

    # the table of metrics renders what is in view and some rows more: all names, then the values in pairs
    metrics = section(words, "Metrics", "Artifacts")[1:]
    names = metrics[: len(metrics) // 3]
    assert names[:2] == ["images_per_second", "lr"]
    assert {"test/accuracy", "test/balanced_accuracy", "test/ece"} <= set(names)
    shown = dict(zip(names, zip(metrics[len(names) :: 2], metrics[len(names) + 1 :: 2], strict=True), strict=True))
    for name in (name for name in names if name.startswith("test/")):
        expected = [store.metrics[run][name] for run in RUNS]
        assert [float(value) for value in shown[name]] == pytest.approx(expected, abs=6e-4), name
    assert {"confusion_matrix.png", "loss_curves.png"} <= set(section(words, "Artifacts", "Tags"))

    assert picture.shape == (1800, 1600, 3)
    ink = rows_of_ink(picture)
    assert sum(amount > 50 for amount in ink) >= 14, f"a page with this little on it is blank or an error: {ink}"


def test_the_page_of_a_run_says_its_result_first(store: Store, server: str, tmp_path: Path) -> None:
    _, words = browse(f"{server}/#/experiments/{store.experiment}/runs/{store.parent}", tmp_path)
    assert "demo 50 %" in words
    described = section(words, "Description", "Show more")
    assert described[0] == next(iter(RUNS)) and "macro-F1" in described[1]
    assert "The classifiers side by side" in described and "This is not a result:" in described


def test_the_saved_view_shows_all_runs_the_best_first(store: Store, server: str, tmp_path: Path) -> None:
    _, words = browse(f"{server}/{links.view_link(store.experiment, notes.BEST_FIRST)}", tmp_path)
    assert any("built-in sample" in word for word in words), "the description of the experiment"
    names = [word for word in words if word in (*RUNS, "demo 50 %")]
    assert names == [*reversed(RUNS), "demo 50 %"]
    assert {"test/macro_f1", "encoders"} <= set(words)


def test_the_comparison_of_runs_that_do_not_exist_would_not_pass(store: Store, server: str, tmp_path: Path) -> None:
    picture, words = browse(compare_url(server, ["0" * 32, "1" * 32], store.experiment), tmp_path)
    assert not set(RUNS) & set(words)
    assert sum(amount > 50 for amount in rows_of_ink(picture)) < 14
