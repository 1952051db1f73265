"""A registered classifier in a program of your own: `hemacell.load("models:/hemacell-wbc@champion")`."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hemacell.core.cache import cache_dir
from hemacell.data.images import UnreadableImage, read_rgb
from hemacell.prediction.in_memory import Predictor, predict_table
from hemacell.prediction.read_ahead import read_ahead
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch

if TYPE_CHECKING:
    import pandas as pd

_AHEAD = 16  # pictures, of whatever size, that are read while the network works


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
                (one array [N, H, W, 3] is N images). Files are read here, a few at a time.

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
             'needs_review', 'why']
            >>> bool(table["needs_review"][1]), table["why"][1]
            (True, 'cannot be opened: No such file or directory')
        """
        if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            images = [images]
        return predict_table(self._predictor, read_ahead(images, _picture, ahead=_AHEAD))


def load(uri: str) -> Classifier:
    """Load a registered classifier by its address, such as `models:/hemacell-wbc@champion`.

    The store is the one in `MLFLOW_TRACKING_URI`, else the project's own. The model is downloaded once.

    Raises:
        UserError: there is no such model, it is no classifier, or the tracking server is down.
    """
    from hemacell.classifiers.folder import load_folder

    registered = find_classifier(uri)
    return Classifier(load_folder(fetch(registered, cache_dir())), registered.uri)


def _picture(image: object) -> Image.Image | str:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(f"expected an array of uint8, 0 to 255, found {image.dtype}: (255 * x).astype('uint8')")
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"expected an array [H, W, 3] or [H, W], found the shape {list(image.shape)}")
        return Image.fromarray(image).convert("RGB")
    try:
        if isinstance(image, (str, Path)):
            return read_rgb(Path(image))
        if isinstance(image, Image.Image):
            return _rgb(image)
    except UnreadableImage as error:
        return str(error)
    raise TypeError(f"expected a path, an array or a PIL image, found {type(image).__name__}")


def _rgb(image: Image.Image) -> Image.Image:
    """What `read_rgb` makes of a file with these pixels: 16 bits scaled to 8, transparency on white."""
    file = io.BytesIO()
    if image.mode.startswith(("I", "F")):
        image.save(file, "TIFF")
    elif image.has_transparency_data:
        image.convert("RGBA").save(file, "PNG")
    else:
        return image.convert("RGB")
    return read_rgb(file.getvalue())
