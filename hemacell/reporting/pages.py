"""Pages of HTML and Markdown from the templates of this package."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

_QUALITY = 82  # of JPEG: no difference is seen at the size of a thumbnail


def embedded_thumbnail(picture: np.ndarray, side: int) -> str:
    """A picture, uint8 [S, S, 3], as a small JPEG in an address (`data:`) that needs no file."""
    image = Image.fromarray(picture)
    if image.width != side:
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def embedded_png(file: Path) -> str:
    """A PNG file as an address (`data:`) that needs no file."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def template_environment(**settings: Any) -> jinja2.Environment:
    """The templates; every value is escaped, and a name that is not given is an error.

    Args:
        settings: of the environment, beyond these.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("hemacell.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
