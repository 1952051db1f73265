"""Images read ahead: in order, bounded, and with a reason for each file that is no image."""

import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from hemacell.classifiers.description import Prediction
from hemacell.prediction.read_ahead import read_ahead, read_image, read_square
from hemacell.prediction.table import predict_readable


def test_the_order_is_kept_whatever_takes_long():
    def slow(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    assert list(read_ahead(range(40), slow, ahead=7)) == [number * number for number in range(40)]
    assert list(read_ahead([], slow, ahead=7)) == []
    assert list(read_ahead(range(3), slow, ahead=1)) == [0, 1, 4]


def test_no_more_is_read_than_is_held():
    read: list[int] = []
    found = read_ahead(iter(range(1000)), lambda number: read.append(number) or number, ahead=5)
    assert next(found) == 0
    time.sleep(0.05)
    assert len(read) <= 5
    found.close()
    assert threading.active_count() < 20 and len(read) <= 5


def test_an_error_comes_when_it_is_its_turn():
    found = read_ahead([1, 0, 2], lambda number: 1 / number, ahead=3)
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_files_that_are_no_image_have_a_reason(tmp_path, monkeypatch):
    good = tmp_path / "good.png"
    Image.new("RGB", (50, 40), (200, 10, 10)).save(good)
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "zero.jpg").write_bytes(b"")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {
        "text.jpg": "is not an image",
        "zero.jpg": "has zero size",
        "cut.jpg": "is truncated",
        "folder.jpg": "is not a file",
        "pipe.jpg": "is not a file",
        "none.jpg": "cannot be opened: No such file or directory",
        "nul\0.jpg": "cannot be opened",
        f"{'x' * 300}.jpg": "cannot be opened: File name too long",
    }
    for name, reason in reasons.items():
        assert str(read_square(tmp_path / name, 16)).startswith(reason), name
    assert read_square(None, 16) == "no path is given"
    notes = []
    Image.new("RGBA", (20, 20), (90, 60, 30, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", note=notes.append).getpixel((0, 0)) == (90, 60, 30)
    assert read_image(good, note=notes.append).size == Image.open(good).size
    assert notes == ["transparent everywhere: the colours below are shown"]
    assert read_square(good, 16).shape == (16, 16, 3)
    bomb = tmp_path / "bomb.png"
    Image.new("1", (10_000, 9_000)).save(bomb)
    assert read_square(bomb, 16) == "has more than 89478485 pixels"
    monkeypatch.setattr("hemacell.prediction.read_ahead.MOST_BYTES", 10)
    assert str(read_square(good, 16)).startswith("has more than")


def test_reasons_stay_in_their_places():
    def predict(pictures):
        light = np.stack(pictures).mean((1, 2, 3), dtype=np.float32)
        return [Prediction(np.array([each, each]), each / 2) for each in light]

    pictures = [np.full((4, 4, 3), 7, np.uint8), "has zero size", np.full((4, 4, 3), 9, np.uint8)]
    first, reason, last = predict_readable(pictures, predict)
    assert reason == "has zero size"
    assert [(each.probabilities.tolist(), each.distance) for each in (first, last)] == [([7, 7], 3.5), ([9, 9], 4.5)]
    assert predict_readable(["a", "b"], predict) == ["a", "b"]
