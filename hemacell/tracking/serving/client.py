"""A registered classifier in a program of your own: `hemacell.load("models:/hemacell-wbc@champion")`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from hemacell.core.cache import cache_dir
from hemacell.data.images import UnreadableImage, camera_bits, read_rgb
from hemacell.prediction.in_memory import Predictor, predict_table
from hemacell.prediction.read_ahead import read_ahead
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch

if TYPE_CHECKING:
    import pandas as pd

_AHEAD = 16  # pictures, of whatever size, that are read while the network works


_UPPER_BITS = 64  # what the upper 8 of 16 bits stay below where a camera has 14


class Classifier:
    """A classifier of white blood cells, ready to use.

    Attributes:
        uri: the version that was loaded, also where an alias was asked for.
        classes: names of the classes, in the order of the probabilities.
    """

    def __init__(self, predictor: Predictor, uri: str) -> None:
        self._predictor = predictor
        self.uri = uri
        self.classes = predictor.classes

    def __repr__(self) -> str:
        return f"Classifier({self.uri!r}, classes={self.classes})"

    def predict(self, images: Iterable[Any] | str | Path | np.ndarray | Image.Image) -> pd.DataFrame:
        """Classify images, one or many.

        Args:
            images: paths of files, folders excepted; PIL images of any mode; or arrays uint8 [H, W, 3] or [H, W]
                (one array [N, H, W, 3] is N images). Files are read here, a few at a time. Of files of 16 bits that are
                given together and do not state the depth of their camera, all are shown in that of the largest value;
                of a PIL image, and of files that follow something else than a path, it is guessed for each alone.

        Returns:
            One row each, in the order given, with `class`, `probability`, one `p_<Class>` a class, `needs_review` and
            `why`. An image that cannot be read is a row with an empty class and the reason.

        Raises:
            TypeError, ValueError: something that is no image: another type, another shape, pixels that are no uint8.

        Examples:
            >>> import hemacell
            >>> table = hemacell.load("models:/hemacell-wbc@sample").predict(["cell.jpg", "missing.jpg"])
            >>> list(table.columns)  # doctest: +NORMALIZE_WHITESPACE
            ['class', 'probability', 'p_Basophil', 'p_Eosinophil', 'p_Lymphocyte', 'p_Monocyte', 'p_Neutrophil',
             'needs_review', 'why', 'none_of_these']
            >>> bool(table["needs_review"][1]), table["why"][1]
            (True, 'cannot be opened: No such file or directory')
        """
        if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            images = [images]
        images, bits = _with_depth(images)
        return predict_table(self._predictor, read_ahead(images, partial(_picture, bits=bits), ahead=_AHEAD))


def load(uri: str, site: str = "") -> Classifier:
    """Load a registered classifier by its address, such as `models:/hemacell-wbc@champion`.

    The store is the one in `MLFLOW_TRACKING_URI`, else the project's own. The model is downloaded once.

    Args:
        uri: the address.
        site: name of a laboratory, to take the version that was adapted to it (`mlflow run . -e adapt`).

    Raises:
        UserError: there is no such model, it is no classifier, no version of it is adapted to this laboratory, or the
            tracking server is down.
    """
    from hemacell.classifiers.folder import load_folder

    registered = find_classifier(uri, site=site)
    return Classifier(load_folder(fetch(registered, cache_dir())), registered.uri)


def _with_depth(images: Iterable[Any]) -> tuple[Iterable[Any], int | None]:
    """The images, and the depth of the camera of their files, where the first of them is a path.

    Paths are listed, as all files are asked for their depth before the first is shown; pictures are taken one by one.
    """
    rest = iter(images)
    first = list(islice(rest, 1))
    if not first or not isinstance(first[0], (str, Path)):
        return chain(first, rest), None
    listed = [*first, *rest]
    return listed, camera_bits(path for path in listed if isinstance(path, (str, Path)) and os.path.isfile(path))


def _picture(image: object, bits: int | None = None) -> Image.Image | str:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(f"expected an array of uint8, 0 to 255, found {image.dtype}: (255 * x).astype('uint8')")
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"expected an array [H, W, 3] or [H, W], found the shape {list(image.shape)}")
        return Image.fromarray(image).convert("RGB")
    try:
        if isinstance(image, (str, Path)):
            return read_rgb(Path(image), bits=bits)
        if isinstance(image, Image.Image):
            return _rgb(image)
    except UnreadableImage as error:
        return str(error)
    raise TypeError(f"expected a path, an array or a PIL image, found {type(image).__name__}")


def _rgb(image: Image.Image) -> Image.Image:
    """What `read_rgb` makes of a file with these pixels: 16 bits scaled to 8, transparency on white.

    Raises:
        UnreadableImage: Pillow has dropped what was in the picture.
    """
    if isinstance(image, TiffImageFile) and image.mode in ("RGB", "RGBA") and _is_dropped(image):
        raise UnreadableImage("was opened by Pillow, which keeps the upper 8 of its 16 bits; give the path of its file")
    file = io.BytesIO()
    if image.mode.startswith(("I", "F")):
        image.save(file, "TIFF")
    elif image.has_transparency_data:
        image.convert("RGBA").save(file, "PNG")
    else:
        return image.convert("RGB")
    return read_rgb(file.getvalue())


def _is_dropped(image: TiffImageFile) -> bool:
    """Whether a colour picture of 16 bits has nothing in the upper 8: its camera had 14 or fewer."""
    deep = max(image.tag_v2.get(BITSPERSAMPLE, (8,))) > 8
    return deep and bool(np.asarray(image)[..., :3].max() < _UPPER_BITS)
