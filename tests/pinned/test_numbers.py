"""The numbers of today, pinned: code that is moved and not changed must give the same ones.

Pretraining, classifiers with every kind of encoder, and one prediction run on the built-in sample, on the processor, in
float32, with one thread, for 20 steps each. They go through the front door alone: the settings of a job, its `run`, and
what MLflow then holds. So this file stays as it is while everything behind that door moves.

Compare with `numbers.json`, which was written on another processor (it takes two minutes):

    pytest tests/pinned

That finds what is badly wrong and no more. Another instruction set rounds otherwise, and training makes much of it: the
loss of the first step agrees to 1e-4, that of the twentieth to a tenth, and scores of few images jump. `_allowed` says
what is compared, and how closely. So compare to the bit, on one machine, before and after a change. Where the file does
not exist yet, it is written:

    HEMACELL_PINNED_EXACT=/tmp/before.json pytest tests/pinned     # before: writes the file
    HEMACELL_PINNED_EXACT=/tmp/before.json pytest tests/pinned     # after: every digit must be the same

Write `numbers.json` again, after a change that is meant to give other numbers:

    python -m tests.pinned.test_numbers --write

Each collection works in a process, a store and a cache of its own. In the files every float is text, by `repr`, so that
no digit is lost; a metric that was logged at several steps is the list of its values. Where a metric or a job gets
another name, change `pinned_name` or `PINNED`, not the numbers.
"""

import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = Path(__file__).with_name("numbers.json")
EXACT = "HEMACELL_PINNED_EXACT"

Found = dict[str, str | list[str]]
"""Name -> text of one value, or of the values of all steps."""

STEPS = 20
#: As many reports as steps, so that the loss of every single step is logged.
COMMON: dict[str, Any] = {"steps": STEPS, "num_evals": STEPS, "device": "cpu", "precision": "float32", "threads": 1}
WBC: dict[str, Any] = {
    **COMMON,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "limit": 150,
    "train_views": 2,
    "tta_views": 2,
    "decoded_size": 96,
    "image_size": 32,
    "encoder_size": 32,
    "crop": 0.55,
    "open_set_false_positive_rate": 0,  # which has tests of its own, and would flag cells
}

#: What is run, in this order: name -> (job, settings). The first two are the encoders that the others take.
PINNED: dict[str, tuple[str, dict[str, Any]]] = {
    "prcc": ("prcc", {**COMMON, "tile_size": 32, "batch_size": 8}),
    "camelyon": ("camelyon", {**COMMON, "patch_size": 32, "batch_size": 16}),
    **{
        f"wbc {encoders}": ("wbc", {**WBC, "encoders": encoders})
        for encoders in (
            "none",
            "prcc",
            "camelyon",
            "prcc,camelyon",
            "imagenet",
            "random-prcc",
            "random-imagenet",
            "random-prcc,imagenet",
        )
    },
    # what the recipe can do beside its defaults
    "wbc prcc, sampler": (
        "wbc",
        {
            **WBC,
            "encoders": "prcc",
            "fraction": 0.5,
            "draw": 2,
            "seed": 3,
            "checkpoint_selection": "best",
            "balance": "sampler",
            "schedule": "cosine",
            "auxiliary_loss_weight": 0.5,
            "label_smoothing": 0.05,
            "max_grad_norm": 0.5,
            "ema_decay": 0.9,
            "weight_decay": 0.01,
            "masks": "off",
            "tta_views": 4,
            "target_risk": 0.2,
            "ood_false_positive_rate": 0.1,
        },
    ),
    "wbc camelyon, augment": (
        "wbc",
        {
            **WBC,
            "encoders": "camelyon",
            "labels_per_class": 20,
            "checkpoint_selection": "best",
            "balance": "augment",
            "class_weights": True,
            "auxiliary_loss_weight": 0,
            "label_smoothing": 0,
            "crop": 0.8,
            "tta_views": 1,
        },
    ),
    "wbc imagenet, framed": (
        "wbc",
        {
            **WBC,
            "encoders": "imagenet",
            "crop": "auto",
            "synthetic_laboratories": 2,
            "synthetic_images": 20,
        },
    ),
    # after the classifiers, which would otherwise take this encoder
    "camelyon, augment": (
        "camelyon",
        {
            **COMMON,
            "patch_size": 32,
            "batch_size": 16,
            "checkpoint_selection": "best",
            "balance": "augment",
            "class_weights": True,
            "label_smoothing": 0,
            "masks": "off",
            "seed": 3,
        },
    ),
}
#: The classifier that `predict` uses.
PREDICTING = "wbc prcc,camelyon"

# Told by the clock, and what is switched off.
_TIMES = re.compile(r"seconds|per_second|^system/|none_of_these")
# What no processor changes.
_FIXED = re.compile(r"^lr$|^train_images$|^tensors$|^images$|^unreadable$")
# Follow the weights smoothly; of all others, which count images or sort them, only the names are compared.
_SMOOTH = re.compile(r"loss|nll|psnr|ssim|\.png probabilities$")
# Digests, which one bit changes: for the comparison to the bit alone.
_DIGEST = "sha256"


def pinned_name(metric: str) -> str:
    """The name under which the files know a metric, whatever it is called now."""
    for now, then in (("ood_images/", "foreign/"), ("confidence_threshold", "review_below"), ("ood_share", "unlike")):
        metric = metric.replace(now, then)
    return metric


# --- collecting, in a process of its own


def collect() -> dict[str, Found]:
    """Run everything in the store and cache that the environment names."""
    import mlflow

    import hemacell

    assert Path(hemacell.__file__).is_relative_to(ROOT), f"{hemacell.__file__} is not the code beside these tests"
    _draw_nothing()
    client = mlflow.MlflowClient()
    runs: dict[str, str] = {}
    found: dict[str, Found] = {}
    for name, (job, given) in PINNED.items():
        runs[name] = _run(job, given)
        found[name] = {**_metrics(client, runs[name]), **_answers(runs[name]), **_weights(client, runs[name])}
    (version,) = client.search_model_versions(f"run_id = '{runs[PREDICTING]}'")
    found["predict"] = _predict(client, f"models:/{version.name}/{version.version}")
    return found


def _draw_nothing() -> None:
    """Figures take a third of the time and hold no other numbers: their files are left empty."""
    from matplotlib.figure import Figure

    Figure.savefig = lambda self, file, **_: Path(file).touch()  # type: ignore[method-assign]


def _run(job: str, given: Mapping[str, Any]) -> str:
    """Run a job with settings as a user types them; the id of its run."""
    from hemacell.config.jobs import JOBS

    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    return importlib.import_module(f"projects.{job}").run(JOBS[job].from_strings(texts))


def _metrics(client: Any, run_id: str) -> Found:
    found: Found = {}
    for metric in sorted(client.get_run(run_id).data.metrics):
        if not _TIMES.search(metric):
            history = sorted(client.get_metric_history(run_id, metric), key=lambda each: each.step)
            values = [repr(each.value) for each in history]
            found[pinned_name(metric)] = values if len(values) > 1 else values[0]
    return found


def _answers(run_id: str) -> Found:
    """The probabilities of the first test images, and the digest of all; nothing for a job that answers nothing."""
    import mlflow

    if "predictions.json" not in {each.path for each in mlflow.MlflowClient().list_artifacts(run_id)}:
        return {}
    table = mlflow.artifacts.load_dict(f"runs:/{run_id}/predictions.json")
    rows = sorted(table["rows"], key=lambda row: row["sha256"])
    texts = [[repr(row["probabilities"][name]) for name in table["classes"]] for row in rows]
    return {
        **{f"test/probabilities/{number}": text for number, text in enumerate(texts[:5])},
        f"test/probabilities {_DIGEST}": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
    }


def _weights(client: Any, run_id: str) -> Found:
    """A digest of all tensors that the registered model holds, whatever their names and files."""
    import mlflow
    from safetensors.numpy import load_file

    from hemacell.classifiers.description import OPEN_SET

    (version,) = client.search_model_versions(f"run_id = '{run_id}'")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=folder))
        files = sorted(file for file in top.rglob("*.safetensors") if file.name != OPEN_SET)
        tensors = [tensor for file in files for tensor in load_file(file).values()]
    digests = sorted(
        hashlib.sha256(f"{each.dtype} {each.shape}".encode() + each.tobytes()).digest() for each in tensors
    )
    return {"tensors": str(len(tensors)), f"tensors {_DIGEST}": hashlib.sha256(b"".join(digests)).hexdigest()}


def _predict(client: Any, model: str) -> Found:
    """Ten cells, and two pictures of other tissue, which are unlike them: all of the sample, as its models demand."""
    import pandas as pd

    (sample,) = [path for path in Path(os.environ["HEMACELL_CACHE"]).glob("sample-*") if path.is_dir()]
    images = [
        path for folder in sorted(sample.glob("WBC_100/test/data/*")) for path in sorted(folder.iterdir())[:2]
    ] + [sorted(sample.glob(f"{place}/*.png"))[0] for place in ("CAM16*/test/data/tumor", "pRCC_nolabel")]
    table, output = Path("images.csv").absolute(), Path("answers.parquet").absolute()
    pd.DataFrame({"image": [str(path) for path in images]}).to_csv(table, index=False)
    shared = {name: COMMON[name] for name in ("device", "precision", "threads")}
    run_id = _run("predict", {**shared, "model": model, "images": table, "output": output, "batch": 5})
    found = _metrics(client, run_id)
    for path, row in zip(images, pd.read_parquet(output).to_dict("records"), strict=True):
        image = path.relative_to(sample).as_posix()
        found[f"{image} class"] = row["class"]
        found[f"{image} probabilities"] = [repr(value) for name, value in row.items() if name.startswith("p_")]
        found[f"{image} needs_review"] = str(row["needs_review"])
        found[f"{image} why"] = row["why"]
    return found


def collected() -> dict[str, Found]:
    """`collect` in a fresh process with an empty store and an empty cache."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HEMACELL_"))}
        environment = {
            **mine,
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
            "HEMACELL_CACHE": str(folder / "cache"),
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        }
        command = [sys.executable, "-m", "tests.pinned.test_numbers", "--collect", str(folder / "found.json")]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def write(found: Mapping[str, Found], path: Path) -> None:
    """Write numbers as JSON, one metric a line."""
    parts = []
    for name, numbers in found.items():
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in numbers.items())
        parts.append(f"{json.dumps(name)}: {{\n{lines}\n}}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


# --- comparing


def _allowed(run: str, name: str, place: int) -> float | None:
    """Tolerance, relative and absolute, between processors; None where nothing can be said.

    The numbers are a few times what a processor without AVX changes.

    Args:
        run: name of the run.
        name: of the number.
        place: among the values of all steps, from 0.
    """
    if _FIXED.search(name):
        return 1e-9
    if not _SMOOTH.search(name):
        return None
    if place > 0 or not name.startswith(("train/", "val/")):
        return 0.25
    # encoders that were trained here differ already
    encoders = set(str(PINNED[run][1].get("encoders", "")).split(","))
    return 5e-3 if encoders & {"prcc", "camelyon"} else 1e-4


def _same(value: str, wanted: str, tolerance: float | None) -> bool:
    return tolerance is None or float(value) == pytest.approx(float(wanted), rel=tolerance, abs=tolerance)


def differences(found: Mapping[str, Found], wanted: Mapping[str, Found], exact: bool) -> list[str]:
    """What differs, a line each; to the bit, or by more than the tolerances."""
    lines = []
    for name in dict.fromkeys([*wanted, *found]):
        here, there = found.get(name, {}), wanted.get(name, {})
        for key in dict.fromkeys([*there, *here]):
            if key.endswith(_DIGEST) and not exact:
                continue
            value, number = here.get(key), there.get(key)
            if value is None or number is None:
                lines.append(f"{name}: {key}: {value}, was {number}")
                continue
            values, numbers = ([each] if isinstance(each, str) else each for each in (value, number))
            if len(values) != len(numbers):
                lines.append(f"{name}: {key}: {len(values)} values, were {len(numbers)}")
                continue
            for place, (one, other) in enumerate(zip(values, numbers, strict=True)):
                if one != other if exact else not _same(one, other, _allowed(name, key, place)):
                    lines.append(f"{name}: {key}[{place}]: {one}, was {other}")
                    break  # the later ones follow from the first
    return lines


@pytest.mark.slow
def test_the_numbers_are_those_of_before():
    found = collected()
    file = Path(os.environ.get(EXACT) or NUMBERS)
    exact = file != NUMBERS
    if exact and not file.exists():
        write(found, file)
        return
    lines = differences(found, json.loads(file.read_text(encoding="utf-8")), exact)
    assert not lines, f"{len(lines)} differ from {file.name}:\n" + "\n".join(lines)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--write"]:
            write(collected(), NUMBERS)
        case ["--collect", target]:
            write(collect(), Path(target))
        case _:
            sys.exit("usage: python -m tests.pinned.test_numbers --write")
