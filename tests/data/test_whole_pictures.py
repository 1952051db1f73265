"""Pictures that several boxes are cut from: read once, whoever asks, and few are held."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from hemacell.data import whole_pictures
from hemacell.data.images import UnreadableImage
from hemacell.data.whole_pictures import WholePictures, about_pixels


@pytest.fixture
def reads(monkeypatch):
    """The files that were read, and how many were at once."""
    seen, now, most, lock = [], [0], [0], threading.Lock()
    real = whole_pictures.read_picture

    def read(file, **given):
        with lock:
            seen.append(file.name)
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            return real(file, **given)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(whole_pictures, "read_picture", read)
    return seen, most


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(path)
    return [str(path) for path in paths]


def test_threads_that_ask_for_one_picture_read_it_once(reads, files):
    pictures = WholePictures()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: pictures.read(files[number // 50], None), range(200)))
    assert sorted(reads[0]) == ["0.png", "1.png", "2.png", "3.png"]
    assert [each.image.getpixel((0, 0))[0] for each in found] == [number // 50 for number in range(200)]
    pictures.read(files[0], 12)  # another depth is another picture
    assert len(reads[0]) == 5


@pytest.mark.parametrize(("most", "most_pixels"), [(2, 10**6), (8, 400)])
def test_few_are_held_those_that_were_asked_for_last(reads, files, most, most_pixels):
    pictures = WholePictures(most, most_pixels)
    for number in (0, 1, 0, 2, 0, 1):
        pictures.read(files[number], None)
    assert reads[0] == ["0.png", "1.png", "2.png", "1.png"]
    for _ in range(2):  # one that is larger than all allowed is held as well
        WholePictures(8, 1).read(files[3], None)
    alone = WholePictures(8, 1)
    before = len(reads[0])
    for _ in range(3):
        alone.read(files[3], None)
    assert len(reads[0]) == before + 1
    alone.forget()
    alone.read(files[3], None)
    assert len(reads[0]) == before + 2


def test_large_ones_are_read_one_at_a_time(reads, files, monkeypatch):
    monkeypatch.setattr(whole_pictures, "LARGE", 100)
    pictures = WholePictures(1, 1)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: pictures.read(files[number % 4], None), range(40)))
    assert reads[1] == [1]


def test_a_file_that_cannot_be_read_is_tried_again(files, tmp_path):
    pictures, file = WholePictures(), tmp_path / "text.png"
    file.write_text("not an image")
    for _ in range(2):
        with pytest.raises(UnreadableImage, match="is not an image"):
            pictures.read(str(file), None)
    file.write_bytes((tmp_path / "1.png").read_bytes())
    assert pictures.read(str(file), None).image.size == (20, 10)
    assert about_pixels(file) == 200 and about_pixels(tmp_path / "none.png") == 0
