"""How much a served model takes at once: what asks for more is refused, in one line, before it costs anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hemacell.data.images import MAX_PIXELS

#: The key of the limits in the `model_config` of a logged model. One key with all of them in it: MLflow itself drops a
#: key that the model was not logged with, and only warns.
LIMITS = "limits"


class Limits(BaseModel):
    """Limits of a served model, with their defaults.

    They travel with a model as its `model_config`, and a caller that loads it may give others:
    `mlflow.pyfunc.load_model(uri, model_config={"limits": {"rows": 10_000}})`. A server takes them from the variable
    MLFLOW_PYFUNC_INFERENCE_CONFIG, as JSON.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rows: int = Field(1000, ge=1, description="images in a request")
    request_bytes: int = Field(64 * 2**20, ge=1, description="of all images in a request, as sent: base64 or not")
    image_bytes: int = Field(16 * 2**20, ge=1, description="of an image's file")
    image_pixels: int = Field(2**24, ge=1, le=MAX_PIXELS, description="of an image, by its header: 4096 x 4096")


def limits_of(model_config: dict[str, Any] | None) -> Limits:
    """The limits in a model's configuration; those that it does not name have their defaults.

    Raises:
        MlflowException: an unknown limit, or a value that is not valid (INVALID_PARAMETER_VALUE).
    """
    try:
        return Limits.model_validate((model_config or {}).get(LIMITS, {}))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, (LIMITS, *first["loc"])))
        raise MlflowException.invalid_parameter_value(
            f"model_config: {name}: found {first['input']!r}, {first['msg'][0].lower()}{first['msg'][1:]}; "
            f"expected {LIMITS} with some of {', '.join(Limits.model_fields)}, whole numbers"
        ) from error


def check_request(images: Sequence[object], limits: Limits) -> None:
    """Refuse a request that holds too much, before anything in it is decoded.

    Args:
        images: the cells of the column, as they came.
        limits: of the model.

    Raises:
        MlflowException: too many rows, or too many bytes (INVALID_PARAMETER_VALUE, which a server answers with 400).
    """
    if len(images) > limits.rows:
        raise MlflowException.invalid_parameter_value(
            f"a request may hold {limits.rows} images, this one holds {len(images)}: send them in several "
            f"({LIMITS}.rows in the model_config)"
        )
    size = sum(len(image) for image in images if isinstance(image, (str, bytes, bytearray, memoryview)))
    if size > limits.request_bytes:
        raise MlflowException.invalid_parameter_value(
            f"a request may hold {limits.request_bytes} bytes of images, this one holds {size}: send them in several "
            f"({LIMITS}.request_bytes in the model_config)"
        )
