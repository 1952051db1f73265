"""The jobs as they are: with a store of their own, inside this process or by their command lines, on tiny data."""

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")

# What makes every job small; one thread, so that the numbers can be compared, and float32: where a processor has no
# instructions for bfloat16, that takes fifteen times as long.
COMMON: dict[str, Any] = {"threads": 1, "num_evals": 2, "precision": "float32"}
CELL: dict[str, Any] = {
    "limit": 60,
    "steps": 4,
    "batch_size": 16,
    "train_views": 2,
    "tta_views": 1,
    "decoded_size": 64,
    "image_size": 32,
    "encoder_size": 32,
    "synthetic_laboratories": 2,
    "synthetic_images": 10,
}
TINY: dict[str, dict[str, Any]] = {
    "main": {**COMMON, "limit": 30, "prcc_steps": 1, "camelyon_steps": 1, "wbc_steps": 2, "synthetic_laboratories": 1},
    "prcc": {**COMMON, "limit": 24, "steps": 2, "tile_size": 32, "batch_size": 4},
    "camelyon": {**COMMON, "limit": 30, "steps": 2, "patch_size": 32, "batch_size": 8},
    "wbc": {**COMMON, **CELL},
    "study": {**COMMON, **CELL, "fractions": "0.1,1.0", "arms": "none;random-prcc", "draws": 2, "workers": 2},
    "compare": {},
    "predict": {"threads": 1, "batch": 4, "resamples": 200},
    "evaluate": {},
    "export": {"threads": 1, "limit": 10},
    "adapt": {"threads": 1, "resamples": 200},
    "audit": {"threads": 1, "precision": "float32", "limit": 60, "decoded_size": 64, "encoder_size": 32},
}


def plain_environment() -> dict[str, str]:
    """The caller's environment without its settings of MLflow and of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HEMACELL_"))}


def as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Store:
    """An MLflow store in a folder, and the ways to run jobs on it."""

    folder: Path
    cache: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **plain_environment(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": self.uri,
            "HEMACELL_CACHE": str(self.cache),
            "OMP_NUM_THREADS": "1",
        }

    @property
    def client(self):
        import mlflow

        return mlflow.MlflowClient(self.uri)

    def runs(self, text: str = "") -> list[Any]:
        """All runs that a search finds, the newest first."""
        client = self.client
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(ids, text, order_by=["attributes.start_time DESC"]))

    def files(self, run_id: str) -> dict[str, Path]:
        """The files of a run: name -> where it lies."""
        import mlflow

        top = Path(mlflow.artifacts.download_artifacts(run_id=run_id, tracking_uri=self.uri))
        return {path.relative_to(top).as_posix(): path for path in sorted(top.rglob("*")) if path.is_file()}

    def settings(self, job: str, **given: object) -> Any:
        from hemacell.config.jobs import JOBS

        return JOBS[job].from_strings({name: as_text(value) for name, value in {**TINY[job], **given}.items()})

    def run(self, job: str, **given: object) -> Any:
        """Run a job inside this process; returns MLflow's run."""
        with self.here():
            return self.client.get_run(importlib.import_module(f"projects.{job}").run(self.settings(job, **given)))

    def mlflow_run(self, job: str, **given: object) -> subprocess.CompletedProcess[str]:
        """`mlflow run . -e JOB -P …`, as a user types it in the activated environment."""
        words = ["mlflow", "run", ".", "--env-manager", "local", *([] if job == "main" else ["-e", job])]
        for name, value in {**TINY[job], **given}.items():
            words += ["-P", f"{name}={as_text(value)}"]
        # sampled so often that even the shortest run has some
        environment = {**self.environment, "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.5"}
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)

    def command(self, job: str, *options: str, **given: object) -> list[str]:
        """`python -m projects.JOB --NAME VALUE …`; `options` are Python's own."""
        words = [sys.executable, *options, "-m", f"projects.{job}"]
        for name, value in {**TINY[job], **given}.items():
            words += [f"--{name}", as_text(value)]
        return words

    @contextlib.contextmanager
    def here(self, **environment: str) -> Iterator[None]:
        """This process as a user's fresh one: only this store, no trace of an earlier job, none left behind."""
        import mlflow

        from hemacell.tracking.runs import mlflow_environment

        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("MLFLOW_", "HEMACELL_"))]:
                patch.delenv(name)
            patch.setenv("HEMACELL_CACHE", str(self.cache))
            patch.setenv("MLFLOW_TRACKING_URI", self.uri)
            patch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(mlflow_environment, "_launch", mlflow_environment.Launch())
            patch.chdir(self.folder)
            mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
            try:
                yield
            finally:
                while mlflow.active_run():
                    mlflow.end_run()
                mlflow.set_tracking_uri(None)
                for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
                    del os.environ[name]


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Callable[[str], Store]:
    """Make an empty store, with the sample in its cache."""
    import mlflow

    # MLflow needs many seconds to make its tables: once is enough.
    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{database}").search_experiments()

    def make(name: str) -> Store:
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(database, folder / "mlflow.db")
        return Store(folder, sample.parent)

    return make


@pytest.fixture
def store(new_store) -> Store:
    return new_store("store")


@pytest.fixture(scope="session")
def other_laboratory(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders: three cells of each class."""
    folder = tmp_path_factory.mktemp("external") / "other_laboratory"
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for path in sorted((sample / "WBC_100" / "test" / "data" / name).iterdir())[:3]:
            shutil.copy(path, folder / name)
    return folder


@pytest.fixture(scope="session")
def laboratories(other_laboratory: Path) -> str:
    """Two other laboratories: `near`, with all classes, and `far_away`, with two of them, no masks and an odd file."""
    far = other_laboratory.parent / "Far_away"
    for name in CLASSES[:2]:
        shutil.copytree(other_laboratory / name, far / name)
    (far / CLASSES[0] / "notes.txt").write_text("no image")
    return f"near:{other_laboratory},{far}"


@pytest.fixture(scope="session")
def pipeline(new_store, laboratories: str):
    """One tiny real run of every entry point by `mlflow run`: (store, what each printed)."""
    store = new_store("pipeline")
    cells = {"fraction": 0.5, "external": laboratories}
    printed = {
        "prcc": store.mlflow_run("prcc"),
        "camelyon": store.mlflow_run("camelyon"),
        "wbc": store.mlflow_run("wbc", **cells),
        "wbc again": store.mlflow_run("wbc", **cells),
    }
    # before main, whose encoders are newer ones
    printed["wbc a third time"] = subprocess.run(
        store.command("wbc", "-X", "importtime", **cells),
        cwd=ROOT,
        env=store.environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    printed["main"] = store.mlflow_run("main")
    return store, printed


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int):
    """A disk of its own in the memory, which only root can mount."""
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if not mounted or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def bomb(path: Path) -> None:
    """A PNG file of 20 kB with a header that promises 3 GB of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (32_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(20_000_000), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def write_image(path: Path, seed: int, side: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A data folder in the course layout with images of noise: 4 a class for training, 2 for val, 2 for test."""
    folder = tmp_path / "course"
    seed = 0
    for part, classes in (("WBC_100", CLASSES), ("CAM16_100cls_10mask", ("normal", "tumor"))):
        for split, count in (("train", 4), ("val", 2), ("test", 2)):
            for name in classes:
                for number in range(count):
                    seed += 1
                    write_image(folder / part / split / "data" / name / f"{split}{number}.png", seed)
    for number in range(10):
        write_image(folder / "pRCC_nolabel" / f"TCGA-SA-{number:04}_0_0.png", 1000 + number)
    return folder
