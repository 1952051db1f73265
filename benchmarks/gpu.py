"""Run every job once on a GPU with the built-in sample, and print what passed and how many images per second it did.

    python benchmarks/gpu.py [--device cuda] [--steps 60]

The first thing to run on a machine with a GPU: it goes through the command line of each job, with the setting `device`,
in a store and a cache of its own, and takes a few minutes. Exits with 1 where a job fails. With `--device cpu` it runs
without one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_MODEL = "models:/hemacell-wbc@sample"


def main() -> None:
    """Run the jobs one after the other and print one line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hemacell-gpu-") as folder:
        passed = [_run(name, job, settings, Path(folder), asked.device) for name, job, settings in _jobs(asked.steps)]
    print(f"{sum(passed)} of {len(passed)} jobs passed on {asked.device}")
    sys.exit(not all(passed))


def _jobs(steps: int) -> list[tuple[str, str, dict[str, object]]]:
    """(label, job, settings), in an order in which each finds the models that it needs."""
    wbc: dict[str, object] = {"steps": steps, "fraction": 0.5}
    return [
        ("prcc", "prcc", {"steps": steps}),
        ("camelyon", "camelyon", {"steps": steps}),
        ("wbc encoders=none", "wbc", {**wbc, "encoders": "none"}),
        ("wbc method=linear_probe", "wbc", {**wbc, "encoders": "imagenet", "method": "linear_probe"}),
        ("wbc method=knn", "wbc", {**wbc, "encoders": "imagenet", "method": "knn"}),
        ("wbc external", "wbc", {**wbc, "external": "sample:SAMPLE/WBC_100"}),
        ("wbc bf16", "wbc", {**wbc, "precision": "bf16", "seed": 1}),
        ("wbc float32", "wbc", {**wbc, "precision": "float32", "seed": 2}),
        ("evaluate", "evaluate", {"model": SAMPLE_MODEL, "crop": 0.8}),
        ("predict float32", "predict", _predict("float32")),
        ("predict bf16", "predict", _predict("bf16")),
        ("study", "study", {"steps": steps, "arms": "none;imagenet", "fractions": 0.5, "draws": 1}),
    ]


def _predict(precision: str) -> dict[str, object]:
    return {
        "model": SAMPLE_MODEL,
        "images": "SAMPLE/WBC_100/test",
        "output": f"cells-{precision}.csv",
        "precision": precision,
        "crop": 0.8,
        "explain": 12,
    }


def _run(name: str, job: str, settings: dict[str, object], folder: Path, device: str) -> bool:
    """Run one job and print its line; True where it ended well."""
    sample = next((path for path in folder.glob("cache/sample-*") if path.is_dir()), folder)
    words = [sys.executable, "-m", f"projects.{job}", "--device", device]
    for key, value in settings.items():
        words += [f"--{key}", str(value).replace("SAMPLE", str(sample))]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HEMACELL_"))}
    environment = {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "HEMACELL_CACHE": str(folder / "cache"),
    }
    started = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"FAILED  {name:<26} exit code {done.returncode} after {seconds:.0f} s: {last}", flush=True)
        return False
    speed = _speed(job, folder)
    print(f"passed  {name:<26} {seconds:>5.0f} s{f', {speed:.0f} images/s' if speed else ''}", flush=True)
    return True


def _speed(job: str, folder: Path) -> float:
    """Images per second that the newest run of a job logged; 0 where it logged none."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(f"hemacell-{job}")
    runs = client.search_runs([experiment.experiment_id], max_results=1) if experiment else []
    return runs[0].data.metrics.get("images_per_second", 0.0) if runs else 0.0


if __name__ == "__main__":
    main()
