import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.images import UnreadableImage, image_size, inside, keep_inside, read_mask, read_rgb, to_square

RAMP = np.arange(16 * 16 * 3, dtype=np.uint32).reshape(16, 16, 3) * 255 // 767


def _bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _rgb() -> Image.Image:
    return Image.fromarray(RAMP.astype(np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_kinds_keep_their_pixels(kind):
    image = read_rgb(_bytes(_rgb(), kind))
    assert image.mode == "RGB" and np.array_equal(np.asarray(image), RAMP)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "JPEG2000"])
def test_lossy_kinds_are_read(kind):
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    image = read_rgb(_bytes(flat, kind))
    assert image.mode == "RGB" and np.abs(np.asarray(image).astype(int) - (200, 100, 50)).max() <= 4


def test_path_and_bytes_give_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(_bytes(_rgb()))
    assert np.array_equal(np.asarray(read_rgb(path)), np.asarray(read_rgb(path.read_bytes())))
    assert image_size(path) == (16, 16)


def test_grey_and_bilevel():
    grey = Image.fromarray(RAMP[..., 0].astype(np.uint8))
    assert np.array_equal(np.asarray(read_rgb(_bytes(grey))), np.repeat(RAMP[..., :1], 3, 2))
    assert set(np.unique(np.asarray(read_rgb(_bytes(grey.convert("1")))))) <= {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_is_scaled_by_the_whole_range(kind):
    values = np.array([[0, 257, 32768, 65535]] * 4, np.uint16)
    pixels = np.asarray(read_rgb(_bytes(Image.fromarray(values), kind)))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    pixels = np.asarray(read_rgb(_bytes(clear)))
    assert pixels[0, 0].tolist() == [10, 20, 30] and (pixels[1:] == 255).all()
    grey = Image.new("LA", (4, 4), (10, 0))
    grey.putpixel((0, 0), (10, 255))
    assert (np.asarray(read_rgb(_bytes(grey)))[1:] == 255).all()


def test_palette_with_and_without_transparency():
    palette = Image.new("P", (4, 4), 1)
    palette.putpixel((3, 3), 0)
    palette.putpalette([0, 0, 0, 250, 120, 60])
    assert np.asarray(read_rgb(_bytes(palette)))[0, 0].tolist() == [250, 120, 60]
    assert np.asarray(read_rgb(_bytes(palette, transparency=1)))[0, 0].tolist() == [255, 255, 255]


def test_cmyk():
    image = read_rgb(_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"))
    assert np.asarray(image)[0, 0].tolist() == [255, 0, 0]
    assert read_rgb(_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).mode == "RGB"


def test_orientation_is_ignored_as_in_masks():
    turned = Image.Exif()
    turned[0x0112] = 6
    assert read_rgb(_bytes(Image.new("RGB", (8, 4)), "JPEG", exif=turned)).size == (8, 4)


def _huge(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero size"),
        (b"just some words", "not an image"),
        (_bytes(Image.effect_noise((64, 64), 90))[:2000], "truncated"),
        (_bytes(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")[:1500], "truncated"),
        (_bytes(_rgb())[:20], "header|not an image"),
        (_huge(30_000), "more than"),
        (_bytes(Image.fromarray(np.array([[0, 99999]], np.int32)), "TIFF"), "32 bits"),
        (_bytes(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "floating"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
    ids=["empty", "text", "cut-png", "cut-jpeg", "header", "bomb", "int32", "float", "postscript"],
)
def test_unreadable_content_has_a_reason(content, reason):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read_rgb(content)
    assert "\n" not in str(caught.value)


def test_a_large_image_below_pillows_error_is_refused_too():
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(UnreadableImage, match="more than"):
        read_rgb(_huge(10_000))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_any_damage_is_unreadable_or_read_but_nothing_else():
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"):
        whole = np.frombuffer(_bytes(_rgb(), kind), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 6)] = rng.integers(0, 256, 6)
            try:
                assert read_rgb(damaged.tobytes()).mode == "RGB"
            except UnreadableImage as error:
                assert str(error)


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        read_rgb(tmp_path / "no.png")
    with pytest.raises(UnreadableImage, match="directory"):
        read_rgb(tmp_path)


def _mask(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def test_mask_is_read_as_grey(tmp_path):
    values = np.zeros((4, 6), np.uint8)
    values[1:3, 1:3] = 128
    mask = read_mask(_mask(tmp_path / "m.png", values), (6, 4))
    assert mask.dtype == np.uint8 and np.array_equal(mask, values)


def test_mask_of_another_size_names_both(tmp_path):
    path = _mask(tmp_path / "m.png", np.zeros((4, 6), np.uint8))
    with pytest.raises(UserError, match=r"m\.png has 6x4 pixels, its image 8x8") as caught:
        read_mask(path, (8, 8))
    assert "\n" not in str(caught.value)


def test_inside_of_odd_masks():
    assert inside(np.array([[0, 10, 128, 255]])).tolist() == [[False, False, True, True]]
    assert inside(np.array([[0, 1, 2]])).tolist() == [[False, True, True]]
    assert not inside(np.zeros((2, 2), np.uint8)).any()


def test_keep_inside_takes_the_borders_colour():
    pixels = np.full((9, 9, 3), (250, 230, 200), np.uint8)
    pixels[2:7, 2:7] = (90, 60, 120)
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 4] = 255
    masked = np.asarray(keep_inside(Image.fromarray(pixels), mask))
    assert masked[4, 4].tolist() == [90, 60, 120]
    masked = np.delete(masked.reshape(-1, 3), 4 * 9 + 4, axis=0)
    assert (masked == (250, 230, 200)).all()


@pytest.mark.parametrize("shape", [(40, 40), (60, 40), (41, 64)])
def test_to_square_is_the_central_square_resized(shape):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (*shape, 3), dtype=np.uint8))
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    slow = image.crop((left, top, left + side, top + side)).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(to_square(image, 16), np.asarray(slow))
    assert to_square(image, side).shape == (side, side, 3)
    assert np.array_equal(to_square(image, side), np.asarray(image)[top : top + side, left : left + side])


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(to_square(Image.fromarray(stripes), 16)[:, 2:-2].astype(int) - 127).max() < 20
