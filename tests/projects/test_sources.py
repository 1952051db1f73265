"""Images as they lie on a disk, through the front door: a MedMNIST file and a table, with classes of their own."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

QUICK = {
    "steps": 3,
    "num_evals": 1,
    "batch_size": 16,
    "decoded_size": 32,
    "image_size": 32,
    "encoder_size": 32,
    "train_views": 1,
    "tta_views": 1,
    "encoders": "none",
    "limit": 0,
    "precision": "float32",
}


def coloured(rng: np.random.Generator, label: int, side: int = 28) -> np.ndarray:
    """A noisy picture whose colour tells its class: uint8 [side, side, 3]."""
    colour = np.array([40 + 25 * label, 200 - 20 * label, 90 + 15 * (label % 3)])
    return np.clip(colour + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)


def trained(store, **given: object):
    """Train by `mlflow run`; returns the finished run and what was said."""
    done = store.mlflow_run("wbc", **{**QUICK, **given})
    assert done.returncode == 0, done.stderr
    (run,) = [run for run in store.runs("tags.`hemacell.job` = 'wbc'")]
    assert run.info.status == "FINISHED"
    return run, done.stderr


def test_bloodmnist_with_its_official_splits_and_eight_classes(new_store, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 80), ("val", 24), ("test", 32)):
        labels = np.arange(count) % 8
        arrays[f"{split}_images"] = np.stack([coloured(rng, label) for label in labels])
        arrays[f"{split}_labels"] = labels[:, None].astype(np.uint8)
    np.savez(tmp_path / "bloodmnist.npz", **arrays)
    own = new_store("bloodmnist")
    run, said = trained(own, data=tmp_path / "bloodmnist.npz")
    assert "136 images of 8 classes" in said and "(80 train, 24 val, 32 test)" in said
    assert {"test/f1/Platelet", "test/f1/Erythroblast", "test/macro_f1"} <= set(run.data.metrics)

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for label in range(8):
        Image.fromarray(coloured(rng, label)).save(pictures / f"{label}.png")
    done = own.mlflow_run("predict", images=pictures, output=tmp_path / "out.csv", differential="true")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out.csv")
    assert len([name for name in table if name.startswith("p_")]) == 8 and len(table) == 8
    done = own.mlflow_run("evaluate", data=tmp_path / "bloodmnist.npz")
    assert done.returncode == 0, done.stderr
    done = own.mlflow_run("export", data=tmp_path / "bloodmnist.npz", limit=8, output=tmp_path / "cells.onnx")
    assert done.returncode == 0, done.stderr


def test_a_table_from_excel_with_patients_and_two_classes(new_store, tmp_path):
    rng = np.random.default_rng(1)
    lines = ["Image;Zelltyp;Patient"]
    for number in range(60):
        name = f"bild {number}.png"
        Image.fromarray(coloured(rng, number % 2)).save(tmp_path / name)
        lines.append(f"{name};{('NEU', 'Blast')[number % 2]};P{number // 4}")
    text = "\n".join(lines).replace("Zelltyp", "Label")
    (tmp_path / "cells.csv").write_bytes(text.encode("utf-16"))
    (tmp_path / "notes.txt").write_text("x")
    run, said = trained(new_store("table"), data=tmp_path / "cells.csv", crop=1.0)
    assert "60 images of 2 classes" in said and "NEU = Neutrophil" in said and "divided into" in said
    assert {"test/f1/Blast", "test/f1/Neutrophil"} <= set(run.data.metrics)
