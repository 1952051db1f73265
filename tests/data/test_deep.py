"""More than 8 bits, planes and pages: what cameras write is shown as bright as it was, or the reason is said."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hemacell.data.decoding import decode
from hemacell.data.deep import DeepPixels, depth_of, is_deep
from hemacell.data.images import UnreadableImage, camera_bits, read_mask, read_picture, read_rgb
from hemacell.data.walk import HEAD_BYTES
from tests.reading import read_cells

PICTURE = np.full((12, 10, 3), (235, 220, 215), np.uint8)
PICTURE[4:8, 3:7] = (110, 60, 140)


def tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def shown(data: bytes, **options) -> np.ndarray:
    return np.asarray(read_rgb(data, **options)).astype(int)


DEEP = {
    "12 bits in 16": (PICTURE.astype(np.uint16) * 16, {}),
    "16 bits": (PICTURE.astype(np.uint16) * 257, {}),
    "16 bits in planes": (np.moveaxis(PICTURE.astype(np.uint16) * 257, -1, 0), {"planarconfig": "separate"}),
    "8 bits in planes": (np.moveaxis(PICTURE, -1, 0), {"planarconfig": "separate"}),
    "big endian": (PICTURE.astype(np.uint16) * 257, {"byteorder": ">"}),
    "LZW": (PICTURE.astype(np.uint16) * 257, {"compression": "lzw"}),
    "64-bit offsets": (PICTURE.astype(np.uint16) * 257, {"bigtiff": True}),
    "64-bit offsets, big endian": (PICTURE.astype(np.uint16) * 257, {"bigtiff": True, "byteorder": ">"}),
    "ImageJ's channels": (np.moveaxis(PICTURE, -1, 0), {"imagej": True, "metadata": {"axes": "CYX"}}),
    "OME's channels": (np.moveaxis(PICTURE.astype(np.uint16) * 16, -1, 0), {"ome": True, "metadata": {"axes": "CYX"}}),
}


@pytest.mark.parametrize("kind", DEEP)
def test_a_tiff_shows_the_picture_that_was_taken(kind):
    values, options = DEEP[kind]
    photometric = {} if "channels" in kind else {"photometric": "rgb"}
    assert np.abs(shown(tiff(values, **photometric, **options)) - PICTURE).max() <= 1


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (6, 5, 4), (2, 6, 5), (3, 6, 5, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_deep_is_told_as_tifffile_tells_it(byteorder, bigtiff, shape, dtype):
    photometric = "rgb" if shape[-1] in (3, 4) else "minisblack"
    data = tiff(np.zeros(shape, dtype), byteorder=byteorder, bigtiff=bigtiff, photometric=photometric)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        expected = file.pages.first.bitspersample > 8 or len(file.pages) > 1
    assert is_deep(io.BytesIO(data), data[:HEAD_BYTES]) == expected


def test_a_damaged_count_of_tags_asks_for_no_memory():
    data = bytearray(tiff(np.zeros((4, 4), np.uint8), bigtiff=True))
    at = int.from_bytes(data[8:16], "little")
    data[at : at + 8] = (2**62).to_bytes(8, "little")
    with pytest.raises(UnreadableImage, match="tags in its first page"):
        read_rgb(bytes(data))


def test_a_png_of_16_bits_a_channel_keeps_its_colours():
    for factor in (16, 257):
        data = imagecodecs.png_encode(PICTURE.astype(np.uint16) * factor)
        assert np.abs(shown(data) - PICTURE).max() <= 1


def test_the_depth_of_the_camera_decides_and_not_the_brightness_of_one_picture(tmp_path):
    dark = tiff(PICTURE.astype(np.uint16), photometric="rgb")  # the largest value is 235: taken for 8 bits
    assert np.array_equal(shown(dark), PICTURE)
    assert shown(dark, bits=12).max() == round(235 * 255 / 4095)
    files = [tmp_path / "dark.tif", tmp_path / "usual.tif", tmp_path / "other.png", tmp_path / "gone.tif"]
    files[0].write_bytes(dark)
    files[2].write_bytes(imagecodecs.png_encode(PICTURE))
    assert camera_bits([files[2], files[3]]) is None and camera_bits(files[:1]) == 8
    files[1].write_bytes(tiff(PICTURE.astype(np.uint16) * 16, photometric="rgb"))
    assert camera_bits(files) == 12


def test_one_depth_is_found_for_all_files_of_a_folder(tmp_path):
    for label, factor in (("Basophil", 1), ("Monocyte", 16)):
        (tmp_path / label).mkdir()
        for n in range(3):
            values = PICTURE.astype(np.uint16) * factor + n
            (tmp_path / label / f"{n}.tif").write_bytes(tiff(values, photometric="rgb"))
    manifest = read_cells(tmp_path)
    assert manifest.bits == 12 and "a camera of 12 bits" in manifest.summary()
    decoded = decode(manifest, 10, tmp_path / "cache")
    dark = decoded.array[(decoded.manifest.table["label"] == "Basophil").to_numpy()]
    assert dark.max() == round(237 * 255 / 4095) and decoded.notes == {}


def test_how_unusual_files_were_read_is_counted(tmp_path):
    for label in ("Basophil", "Monocyte"):
        (tmp_path / label).mkdir()
        stack = np.stack([PICTURE, 255 - PICTURE, np.full_like(PICTURE, len(label))])
        (tmp_path / label / "stack.tif").write_bytes(tiff(stack, photometric="rgb"))
    for _ in range(2):  # decoded, and read back
        decoded = decode(read_cells(tmp_path), 10, tmp_path / "cache")
        assert decoded.notes == {"the first of 3 pages is used": 2}


def test_white_that_the_file_states_is_believed(tmp_path):
    stated = tiff(PICTURE.astype(np.uint16), photometric="rgb", extratags=[(281, "H", 3, (1023,) * 3, True)])
    assert shown(stated, bits=16).max() == round(235 * 255 / 1023)
    (tmp_path / "stated.tif").write_bytes(stated)
    assert camera_bits([tmp_path / "stated.tif"]) is None


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (65535, 16)]
)
def test_depths_of_cameras(largest, bits):
    assert depth_of(largest) == bits


def test_a_stack_shows_its_first_page_and_says_so():
    stack = np.stack([PICTURE, 255 - PICTURE])
    for options in ({"photometric": "rgb"}, {"photometric": "rgb", "compression": "zlib"}):
        picture = read_picture(tiff(stack, **options))
        assert np.array_equal(np.asarray(picture.image), PICTURE)
        assert picture.note == "the first of 2 pages is used"
    slices = tiff(np.stack([PICTURE[..., 0]] * 3), imagej=True, metadata={"axes": "ZYX", "slices": 3})
    assert read_picture(slices).note == "the first of 3 pages is used"
    channels = tiff(np.moveaxis(PICTURE, -1, 0), photometric="minisblack")
    assert read_picture(channels).note == "three grey pages read as red, green, blue"


def test_a_pyramid_gives_its_full_level():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(PICTURE, photometric="rgb", subifds=1)
        writer.write(PICTURE[::2, ::2], photometric="rgb", subfiletype=1)
    picture = read_picture(file.getvalue())
    assert np.array_equal(np.asarray(picture.image), PICTURE) and picture.note == ""


def test_colours_below_a_fully_transparent_layer_are_shown():
    file = io.BytesIO()
    Image.fromarray(np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], np.uint8)])).save(file, "PNG")
    picture = read_picture(file.getvalue())
    assert np.array_equal(np.asarray(picture.image), PICTURE) and "transparent everywhere" in picture.note


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((4, 4, 3), np.float32), "floating-point"),
        (np.full((4, 4), 70_000, np.uint32), "32 bits"),
        (np.zeros((4, 4, 6), np.uint16), "grey or RGB"),
    ],
)
def test_pixels_of_other_kinds_have_a_reason(values, reason):
    with pytest.raises(UnreadableImage, match=reason):
        read_rgb(tiff(values, photometric="minisblack", planarconfig="contig" if values.ndim == 3 else None))


def test_any_damage_of_a_deep_file_is_unreadable_or_read_but_nothing_else():
    data = tiff(PICTURE.astype(np.uint16), photometric="rgb", compression="zlib")
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data[: rng.integers(8, len(data) + 1)])
        for place in rng.integers(0, len(damaged), 4):
            damaged[place] = rng.integers(256)
        try:
            read_rgb(bytes(damaged))
        except UnreadableImage as error:
            assert str(error)


def test_a_mask_of_16_bits_keeps_its_levels(tmp_path):
    mask = np.zeros((12, 10), np.uint16)
    mask[4:8, 3:7], mask[5:6, 4:5] = 128, 255
    (tmp_path / "mask.tif").write_bytes(tiff(mask))
    assert sorted(np.unique(read_mask(tmp_path / "mask.tif", (10, 12)))) == [0, 128, 255]


def test_a_header_that_claims_a_huge_picture_is_refused_undecoded():
    data = bytearray(tiff(np.zeros((4, 4), np.uint16)))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        for name in ("ImageWidth", "ImageLength"):
            tag = file.pages.first.tags[name]
            struct.pack_into("<H" if tag.dtype == 3 else "<I", data, tag.valueoffset, 60_000)
    with pytest.raises(UnreadableImage, match="pixels"):
        read_rgb(bytes(data))


def test_files_of_16_bits_are_read_no_further_than_the_depth_can_change(tmp_path, monkeypatch):
    monkeypatch.setattr("hemacell.data.images._AT_ONCE", 2)
    files = [tmp_path / f"{number}.tif" for number in range(6)]
    for file, factor in zip(files, (1, 16, 257, 1, 1, 1), strict=True):
        file.write_bytes(tiff(PICTURE.astype(np.uint16) * factor, photometric="rgb"))
    looked_at = []
    real = DeepPixels.unstated_maximum
    monkeypatch.setattr(DeepPixels, "unstated_maximum", lambda pixels: looked_at.append(pixels) or real(pixels))
    assert camera_bits(files) == 16 and len(looked_at) == 4
    assert camera_bits([*files[:2], *files[3:]]) == 12 and len(looked_at) == 4 + 5
