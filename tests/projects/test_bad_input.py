"""Every mistake of a user: exit code 2, one line that says what to type instead, and no run left RUNNING."""

import contextlib
import errno
import importlib
import os
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.cli import main
from hemacell.config.jobs import JOBS, WbcSettings
from hemacell.core.errors import UserError
from hemacell.data.sources.base import SourceOptions
from tests.projects.conftest import small_disk
from tests.reading import read_cells, without_account

CELLS = {
    "limit": "0",
    "steps": "2",
    "num_evals": "1",
    "batch_size": "8",
    "train_views": "1",
    "tta_views": "1",
    "threads": "1",
}
SMALL = {"decoded_size": "32", "image_size": "32", "encoder_size": "32", "encoders": "none", "register_model": "false"}


@pytest.fixture
def refused(store, course, capsys):
    """Start a job that cannot work; returns its error line."""

    def start(job: str, *, lines: int | None = 1, environment: dict[str, str] | None = None, **given: object) -> str:
        values = {"data": str(course), **(CELLS | SMALL if job == "wbc" else {}), **given}
        arguments = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        with store.here(**(environment or {})), pytest.raises(SystemExit) as end:
            main(JOBS[job], importlib.import_module(f"projects.{job}").run, arguments)
        assert end.value.code == 2
        printed = capsys.readouterr().err.splitlines()
        assert [line for line in printed if line.startswith("error: ")] == printed[-1:], printed
        assert lines is None or len(without_account(printed)) == lines, printed
        assert not store.runs("attributes.status = 'RUNNING'")
        return printed[-1]

    return start


def test_the_demonstration_is_not_for_real_images(refused, course):
    assert "type -e wbc -P data=DIR" in refused("main")
    assert "unset HEMACELL_DATA" in refused("main", data="", environment={"HEMACELL_DATA": str(course)})


@pytest.mark.parametrize(
    ("job", "setting", "value", "words"),
    [
        ("wbc", "fraction", "0", "fraction: expected a number, above 0 and at most 1, found '0'; type for example"),
        ("wbc", "fraction", "1.5", "found '1.5'; type for example fraction=0.5"),
        ("wbc", "fraction", "half", "found 'half'; type for example fraction=0.5"),
        ("wbc", "fracton", "0.5", "unknown option '--fracton'; did you mean --fraction?"),
        ("wbc", "balance", "samler", "did you mean sampler?"),
        ("wbc", "draw", "offical", "or official, found 'offical'"),
        ("wbc", "encoders", "none,prcc", "none stands alone"),
        ("wbc", "image_size", "8", "image_size: expected a whole number, at least 32, found '8'"),
        ("prcc", "tile_size", "100", "a multiple of 16, found '100'"),
        ("prcc", "steps", "many", "steps: expected a whole number"),
        ("camelyon", "device", "gpu", "device: expected one of auto, cpu, cuda, found 'gpu'"),
        ("main", "prcc_steps", "0", "prcc_steps: expected a whole number, at least 1"),
    ],
)
def test_a_setting(refused, job, setting, value, words):
    assert words in refused(job, **{setting: value})


def test_two_amounts_at_once(refused):
    assert "leave one out" in refused("wbc", fraction="0.5", labels_per_class="3")


@pytest.mark.parametrize("job", ["main", "prcc", "camelyon", "wbc"])
def test_no_such_folder(refused, job, course):
    line = refused(job, data=f"{course}x")
    assert "no such folder" in line and "did you mean course?" in line


@pytest.mark.parametrize("job", ["prcc", "camelyon", "wbc"])
def test_a_folder_without_the_layout(refused, job, tmp_path):
    (tmp_path / "elsewhere" / "cats").mkdir(parents=True)
    line = refused(job, data=tmp_path / "elsewhere")
    assert ("no images in" if job == "prcc" else "no class folders with images in") in line and "found no files" in line


def test_a_file_for_a_folder(refused, tmp_path):
    (tmp_path / "cells.zip").write_bytes(b"PK")
    assert "cells.zip: cannot be unpacked" in refused("wbc", data=tmp_path / "cells.zip")
    (tmp_path / "cells.doc").write_bytes(b"PK")
    assert "is a file" in refused("wbc", data=tmp_path / "cells.doc")


def pictures(folder: Path, **counts: int) -> Path:
    """Small class folders in `folder`."""
    rng = np.random.default_rng(7)
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / label / f"{number}.png")
    return folder


def table(folder: Path, head: str, row: str) -> Path:
    """A table of the pictures of two classes, one row for each: `{0}` is its path, `{1}` its class."""
    files = sorted(pictures(folder, A=6, B=6).rglob("*.png"))
    lines = [head, *(row.format(file.relative_to(folder).as_posix(), file.parent.name) for file in files)]
    (folder / "cells.csv").write_text("\n".join(lines))
    return folder / "cells.csv"


def archive(folder: Path) -> Path:
    inner = shutil.make_archive(str(folder / "inner"), "zip", pictures(folder / "cells", A=2, B=2))
    with zipfile.ZipFile(folder / "outer.zip", "w") as outer:
        outer.write(inner, "inner.zip")
    return folder / "outer.zip"


def pickled(folder: Path) -> Path:
    names = [f"{split}_{kind}" for split in ("train", "val", "test") for kind in ("images", "labels")]
    np.savez(folder / "cells.npz", **{name: np.array([{}], dtype=object) for name in names})
    return folder / "cells.npz"


def loop(folder: Path) -> Path:
    (folder / "A" / "deep").mkdir(parents=True)
    (folder / "A" / "deep" / "again").symlink_to(folder, target_is_directory=True)
    return folder


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (lambda at: table(at, "image", "{0}"), {}, "expected a column label, class or cell_type, found image"),
        (lambda at: table(at, "image,label,class", "{0},{1},{1}"), {}, "label and class could both be the label"),
        (lambda at: table(at, "image,label,x,y,w,h", "{0},{1},900,0,9,9"), {}, "lies outside of them"),
        (lambda at: table(at, "image,label,x,y,w,h", "{0},{1},0.1,0.1,0.2,0.2"), {}, "row without a box in pixels"),
        (lambda at: pictures(at / "cells", A=6, B=6), {"classes": "A:"}, "classes=A:: expected NAME:CLASS"),
        (
            lambda at: pictures(at / "cells", A=6, B=6),
            {"classes": "A:-,B:-"},
            "found no labelled images after classes=",
        ),
        (archive, {}, "holds another archive, 'inner.zip'; unpack both"),
        (pickled, {}, "holds pickled objects, which may run code"),
        (loop, {}, "no class folders with images in"),
    ],
)
def test_images_that_cannot_be_used(refused, tmp_path, make, settings, words):
    (tmp_path / "given").mkdir()
    assert words in refused("wbc", lines=None, data=make(tmp_path / "given"), **settings)


def test_a_class_of_one_image(tmp_path):
    assert "too few for 3 splits: 1 B, 2 C" in read_cells(pictures(tmp_path / "cells", A=3, B=1, C=2)).summary()


@pytest.mark.parametrize("job", ["wbc", "prcc"])
def test_more_folders_than_any_set_has(refused, tmp_path, monkeypatch, job):
    monkeypatch.setattr("hemacell.data.walk.MOST_FOLDERS", 2)
    assert "holds more than 2 folders" in refused(job, data=pictures(tmp_path / "cells", A=1, B=1, C=1))


def test_a_folder_that_cannot_be_read(refused, tmp_path, monkeypatch):
    closed, scandir = pictures(tmp_path / "cells", A=1), os.scandir

    def refuse(path="."):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # permissions would not stop root
    assert f"{closed}: cannot be read (Permission denied); check its permissions" in refused("wbc", data=closed)


def test_one_class_only(refused, course):
    assert "expected images of two or more classes, found tumor only" in refused("camelyon", classes="normal:-")


def test_a_class_that_does_not_occur(refused):
    assert "no class basofil in the data" in refused("wbc", classes="basofil:Basophil")


def test_a_group_that_fits_nothing(refused):
    assert "group=patient: matches nothing in WBC_100/" in refused("wbc", group="patient")


def test_too_few_patients(refused, course):
    for path in sorted((course / "pRCC_nolabel").iterdir())[2:]:
        path.unlink()
    assert "expected 3 or more" in refused("prcc")


def test_a_mask_of_another_size(refused, course):
    folder = course / "WBC_100" / "train"
    (folder / "mask" / "Basophil").mkdir(parents=True)
    Image.new("L", (41, 40), 255).save(folder / "mask" / "Basophil" / "train0.png")
    line = refused("wbc")
    assert "has 41x40 pixels, its image 40x40" in line and "masks=off" in line


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("wbc_folder", "WBC_10", "did you mean WBC_100?"),
        ("mask_from", "WBC_JTSC", "expected a folder WBC_JTSC"),
        ("external", "/no/such/laboratory", "external: laboratory: no such folder: /no/such/laboratory"),
        ("external", "lisc:/no/such/laboratory", "external: lisc: no such folder: /no/such/laboratory"),
        ("external", "LISC 2:/data", "external: expected a name of at most 40 letters, digits and ._-"),
        ("external", "/a/test,/b/test", "type for example external=first:/a/test,second:/b/test"),
        ("encoders", "prc", "unknown encoder 'prc'; did you mean prcc?"),
        ("encoders", "imagenet,imagenet", "expected each encoder once"),
        ("encoders", "models:/hemacell-prcc-encoder/1", "nothing is registered yet"),
        ("encoders", "models:hemacell-prcc-encoder", "expected models:/NAME/VERSION"),
        ("init_from", "models:/hemacell-wbc@champion", "nothing is registered yet"),
        ("draw", "official", "expected the folder"),
        ("resume", "0123456789abcdef0123456789abcdef", "there is no run '0123456789abcdef0123456789abcdef'"),
    ],
)
def test_a_name(refused, setting, value, words):
    line = refused("wbc", **{"fraction": "0.5", setting: value})
    assert words in line


def test_an_external_folder_without_classes(refused, course):
    assert "external: jtsc: no class folders with images in" in refused("wbc", external=f"jtsc:{course}/pRCC_nolabel")


def test_an_external_folder_whose_name_has_a_colon(tmp_path, monkeypatch):
    from hemacell.jobs.wbc_inputs import _read_laboratories

    (tmp_path / "lisc:2008").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = WbcSettings.from_strings({"external": "lisc:2008"})
    with pytest.raises(UserError, match="for the folder lisc:2008 type external=NAME:lisc:2008"):
        _read_laboratories(settings, ["A", "B"], SourceOptions())


def test_an_encoder_that_cannot_be_pretrained(refused, course):
    shutil.rmtree(course / "pRCC_nolabel")
    line = refused("wbc", encoders="prcc")
    assert "encoders=none" in line and "pretrain_data=DIR" in line


def test_nothing_to_pretrain_on_in_the_folder_for_it(refused, tmp_path):
    assert f"pretrain_data={tmp_path / 'none'}: no such folder" in refused(
        "wbc", encoders="prcc", pretrain_data=tmp_path / "none"
    )


def test_the_registry_has_no_such_model(store, refused):
    import mlflow

    client = mlflow.MlflowClient(store.uri)
    client.create_registered_model("hemacell-prcc-encoder")
    line = refused("wbc", encoders="models:/hemacell-prc-encoder/1")
    assert "there is no model 'hemacell-prc-encoder'" in line and "registered are: hemacell-prcc-encoder" in line
    assert "has no version '7'" in refused("wbc", encoders="models:/hemacell-prcc-encoder/7")
    assert "has no alias 'champion'" in refused("wbc", encoders="models:/hemacell-prcc-encoder@champion")


def test_the_tracking_server_is_down(refused):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    line = refused("wbc", environment={"MLFLOW_TRACKING_URI": address})
    assert f"no MLflow server answers at {address}" in line and "unset it" in line


# --- found only while the job works


def spoil(folder: Path) -> dict[str, str]:
    """Three files that are no images any more: name -> the reason that must be given."""
    truncated, empty, text = sorted(folder.iterdir())[:3]
    truncated.write_bytes(truncated.read_bytes()[:200])
    empty.write_bytes(b"")
    text.write_text("not an image")
    return {truncated.name: "truncated", empty.name: "has zero size", text.name: "is not an image"}


def test_too_many_unreadable_images(refused, course):
    reasons = spoil(course / "WBC_100" / "train" / "data" / "Neutrophil")
    line = refused("wbc", lines=None)
    assert "3 of 40 images cannot be read, more than max_bad=0.01 allows" in line and "raise max_bad" in line
    assert all(name in line and reason in line for name, reason in reasons.items())


class Enough(Exception):
    """The training would begin now."""


def test_readable_images_of_every_kind_are_taken_and_the_others_listed(store, course, monkeypatch, capsys):
    spoiled = spoil(course / "WBC_100" / "train" / "data" / "Neutrophil")
    odd = sorted((course / "WBC_100" / "train" / "data" / "Basophil").iterdir())
    pixels = np.random.default_rng(5).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(pixels).save(odd[0])
    Image.fromarray(np.stack([pixels] * 4, 2), "RGBA").save(odd[1])
    Image.fromarray(pixels.astype(np.uint16) * 257).save(odd[2])
    odd[3].unlink()
    Image.fromarray(np.stack([pixels] * 4, 2), "CMYK").save(odd[3].with_suffix(".jpg"))
    trained_on = []

    def fit(task, *_, **__):
        trained_on.append(task.train.labels)
        raise Enough

    monkeypatch.setattr("hemacell.jobs.training.fit", fit)
    with pytest.raises(Enough):
        store.run("wbc", data=str(course), max_bad=0.1, limit=0, encoders=("none",), synthetic_laboratories=0)
    assert np.bincount(trained_on[0]).tolist() == [4, 4, 4, 4, 1]
    assert "warning: 3 images could not be read and are left out" in capsys.readouterr().err
    (run,) = store.runs()
    assert run.info.status == "FAILED"
    listed = store.files(run.info.run_id)["bad_images.txt"].read_text().splitlines()
    assert {Path(line.split("\t")[0]).name for line in listed} == set(spoiled)


def test_the_loss_is_not_a_number(refused, store):
    line = refused("wbc", lines=None, learning_rate="1e30", max_grad_norm="1e30", ema_decay="0", steps="6")
    assert "the loss is" in line and "learning_rate=" in line
    (run,) = store.runs()
    assert run.info.status == "FAILED" and run.data.tags["hemacell.error"] in line


def test_no_gpu(refused):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for job in ("prcc", "camelyon", "wbc"):
        assert "device=cuda: this machine has no GPU" in refused(job, device="cuda")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("arch", "tf_efficientnet_lite00", "timm does not have this model; the nearest are "),
        ("weights", "/no/such.safetensors", "expected imagenet, none or a .safetensors file, found no such file"),
    ],
)
def test_a_backbone(refused, setting, value, words):
    line = refused("camelyon", **{setting: value})
    assert f"{setting}={value}" in line and words in line


def test_a_full_disk_under_the_cache(refused, tmp_path):
    with small_disk(tmp_path / "disk", 1):
        line = refused("wbc", lines=None, decoded_size="192", environment={"HEMACELL_CACHE": str(tmp_path / "disk")})
    assert "the disk is full" in line and "HEMACELL_CACHE" in line


def test_a_full_disk_under_the_store(refused, store, tmp_path):
    with small_disk(tmp_path / "disk", 4):
        uri = f"sqlite:///{shutil.copy(store.folder / 'mlflow.db', tmp_path / 'disk')}"
        with open(tmp_path / "disk" / "filling", "wb", buffering=0) as filling, contextlib.suppress(OSError):
            while True:
                filling.write(bytes(4096))
        line = refused("wbc", lines=None, environment={"MLFLOW_TRACKING_URI": uri})
    assert "is full" in line and "free some space" in line


@pytest.mark.slow
def test_mlflow_run_ends_badly_too(store):
    """MLflow's own run must not be left RUNNING either; it makes 1 of our exit code 2."""
    done = store.mlflow_run("wbc", fracton="0.5")
    assert done.returncode == 1
    assert "error: unknown option '--fracton'; did you mean --fraction?" in done.stderr.splitlines()
    (run,) = store.runs()
    assert run.info.status == "FAILED"


@pytest.mark.slow
def test_a_process_of_its_own_answers_with_2(store, tmp_path):
    command = store.command("wbc", data=tmp_path / "none", encoders="none")
    done = subprocess.run(command, env=store.environment, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: data=") and done.stderr.count("\n") == 1
    assert not store.runs()


def test_a_resumed_run_of_another_job(store, refused, course):
    with store.here():
        from hemacell.tracking.runs.lifecycle import track

        with track("prcc", {"data": str(course), "resume": ""}) as run:
            pass
    assert f"run {run.run_id} is a run of prcc, not of wbc" in refused("wbc", resume=run.run_id)
