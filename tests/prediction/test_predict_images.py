"""Predictions on the disk, part by part: interrupted anywhere, the file is the same; other files are left alone."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.classifiers.description import Prediction
from hemacell.core.errors import UserError
from hemacell.data.images import to_square
from hemacell.framing.frame import Framed
from hemacell.prediction.inputs import read_inputs
from hemacell.prediction.output import check_output, folder_of, in_words, open_parts, read_output
from hemacell.prediction.predict_images import classify

FACTS = {"model": "models:/m/1", "images": "abc", "crop": "0"}


class Network:
    """Tells light from dark, and its last digits depend on the size of the batch."""

    classes, confidence_threshold = ("Dark", "Light"), 0.6

    def __init__(self, stop_after: int = 10**9) -> None:
        self.left = stop_after

    def picture(self, image):
        return Framed(to_square(image, 8))

    def predict_framed(self, pictures):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        pixels = np.stack([each.pixels for each in pictures])
        light = pixels.mean((1, 2, 3)) / 255 * 0.9 + 0.01 * len(pixels)
        distance = np.where(pixels.max((1, 2, 3)) > 250, 1.5, 0.5)
        probabilities = np.stack([1 - light, light], 1).astype(np.float32)
        return [Prediction(*each) for each in zip(probabilities, map(float, distance), strict=True)]


@pytest.fixture
def inputs(tmp_path: Path):
    for number in range(23):
        path = tmp_path / "cells" / f"smear{number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), number * 11).save(path)
    (tmp_path / "cells" / "smear0" / "05.png").write_bytes(b"")
    return read_inputs(str(tmp_path / "cells"))


def work(output: Path, inputs, network, key="k", force=False, facts=FACTS) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    with open_parts(output, key, facts, len(inputs), 6, force) as parts:
        classify(network, inputs, parts, "models:/m/1", batch=3, progress=lambda *done: seen.append(done))
        parts.publish(lambda digest: None)
        parts.remove()
    return seen


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_cut_short_anywhere_the_file_is_that_of_an_unbroken_run(inputs, tmp_path, suffix):
    unbroken = tmp_path / f"unbroken{suffix}"
    seen = work(unbroken, inputs, Network())
    assert seen[0] == (3, 24) and seen[-1] == (24, 24)
    for batches in (0, 1, 2, 5, 7):
        output = tmp_path / f"cut{batches}{suffix}"
        with pytest.raises(KeyboardInterrupt):
            work(output, inputs, Network(batches))
        assert not output.exists() and folder_of(output).is_dir() == (batches > 1)
        seen = work(output, inputs, Network())
        assert seen[0][0] == batches // 2 * 6 + 3  # whole parts of two batches are not computed again
        assert output.read_bytes() == unbroken.read_bytes()
        assert not folder_of(output).exists()


def test_threads_change_no_bit_and_leave_torch_with_its_own(inputs, tmp_path):
    import torch

    outputs = {threads: tmp_path / f"{threads}.csv" for threads in (1, 3)}
    before, used = torch.get_num_threads(), set()

    class Watched(Network):
        def predict_framed(self, pictures):
            used.add(torch.get_num_threads())
            return super().predict_framed(pictures)

    for threads, output in outputs.items():
        with open_parts(output, "k", FACTS, len(inputs), 6) as parts:
            classify(Watched(), inputs, parts, "models:/m/1", batch=3, threads=threads)
            parts.publish(lambda digest: None)
        assert used == {before if threads == 1 else 1}
        assert torch.get_num_threads() == (threads if threads > 1 else before)
        used.clear()
    torch.set_num_threads(before)
    assert outputs[1].read_bytes() == outputs[3].read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_the_file_holds(inputs, tmp_path, suffix):
    output = tmp_path / f"cells{suffix}"
    work(output, inputs, Network())
    table = pd.read_csv(output) if suffix == ".csv" else pd.read_parquet(output)
    columns = ["image", "class", "probability", "p_Dark", "p_Light", "needs_review", "why", "none_of_these", "model"]
    assert (
        list(table.columns) == columns
        and list(table["image"]) == inputs.names
        and set(table["model"]) == {"models:/m/1"}
    )
    (bad,) = np.flatnonzero(table["image"] == "smear0/05.png")
    assert table["why"][bad] == "has zero size" and table["needs_review"][bad] and np.isnan(table["probability"][bad])
    good = table.drop(index=bad)
    np.testing.assert_allclose(good[["p_Dark", "p_Light"]].max(axis=1), good["probability"])
    assert ((good["probability"] < 0.6) == good["needs_review"]).all()
    again = pd.concat(read_output(output))
    assert again["class"][bad] == "" and again["why"][bad] == "has zero size" and again["needs_review"].dtype == bool
    assert set(again["class"]) == {"", "Dark", "Light"} and again["probability"].isna().sum() == 1


def test_a_part_that_is_damaged_is_computed_again(inputs, tmp_path):
    output = tmp_path / "cells.csv"
    with pytest.raises(KeyboardInterrupt):
        work(output, inputs, Network(5))
    (folder_of(output) / "part-000001.parquet").write_bytes(b"")
    seen = work(output, inputs, Network())
    assert seen[0] == (9, 24)


def test_parts_of_something_else_are_not_mixed_in(inputs, tmp_path):
    output = tmp_path / "cells.csv"
    with pytest.raises(KeyboardInterrupt):
        work(output, inputs, Network(5))
    other = {**FACTS, "crop": "1.0", "images": "xyz"}
    with pytest.raises(UserError) as caught:
        work(output, inputs, Network(), key="other", facts=other)
    assert "other or changed images, crop=0 (now 1.0): type that again to finish it, force=true" in str(caught.value)
    assert work(output, inputs, Network(), key="other", force=True, facts=other)[0] == (3, 24)


def test_a_folder_with_other_files_is_left_alone_even_with_force(inputs, tmp_path):
    output = tmp_path / "cells.csv"
    folder_of(output).mkdir()
    (folder_of(output) / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match="is in the way"):
        work(output, inputs, Network(), force=True)
    assert (folder_of(output) / "diary.txt").read_text() == "mine"


def test_two_processes_do_not_write_one_output(inputs, tmp_path):
    output = tmp_path / "cells.csv"
    with open_parts(output, "k", FACTS, len(inputs), 6), pytest.raises(UserError, match="another process is writing"):
        work(output, inputs, Network())
    assert work(output, inputs, Network())[-1] == (24, 24)


def test_parts_that_were_never_started_stay_out_of_the_way(inputs, tmp_path):
    output = tmp_path / "cells.csv"
    with pytest.raises(KeyboardInterrupt):
        work(output, inputs, Network(1))  # a batch is not yet a part
    assert not folder_of(output).exists()
    assert work(output, inputs, Network(), key="other")[0] == (3, 24)


def test_the_note_of_the_last_process_is_found_again(tmp_path):
    for note in ("", "run 7"):
        with open_parts(tmp_path / "cells.csv", "k", FACTS, 10, 5) as parts:
            assert parts.note == note
            parts.keep("run 7")
            parts.write(0, pd.DataFrame({"image": ["x"] * 5}))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cells.xlsx", "found .xlsx; type for example output=cells.csv"),
        ("cells", "found no ending"),
        ("none/cells.csv", "make it (mkdir -p "),
        ("", "is a folder: name a file in it"),
    ],
)
def test_outputs_that_cannot_be(tmp_path, name, words):
    with pytest.raises(UserError) as caught:
        check_output(str(tmp_path / name))
    assert words in str(caught.value)


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="cannot be written"):
        check_output(str(tmp_path / "cells.csv"))


def test_what_differs_is_said_in_words():
    assert in_words(FACTS, FACTS) == "other settings"
    assert in_words({}, {"sources": "1"}) == "another version of this program"
