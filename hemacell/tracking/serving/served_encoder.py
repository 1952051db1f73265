"""A registered encoder as MLflow serves it. MLflow runs this file ("models from code"); nothing is pickled."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from PIL.Image import Image

from hemacell.core.threads import threads_for
from hemacell.data.images import to_square
from hemacell.encoders.frozen import load_encoder
from hemacell.prediction.in_memory import chunks
from hemacell.tracking.serving.limits import check_request, limits_of
from hemacell.tracking.serving.own_code import leave_unused_code
from hemacell.tracking.serving.payload import column, decode


class ServedEncoder(PythonModel):
    """Table with one column `image` (bytes or base64 text of image files) -> table with one embedding a row."""

    def load_context(self, context: Any) -> None:
        """Load the frozen encoder from the artifact `model`, with the limits in the `model_config`."""
        self.limits = limits_of(context.model_config)
        self.threads = torch.get_num_threads()
        leave_unused_code(Path(context.artifacts["model"]))
        self.encoder = load_encoder(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Embed every row, in order.

        Returns:
            `embedding` (a list of D numbers, empty for an image that cannot be read) and `why` (the reason, else '').

        Raises:
            MlflowException: the table holds more than the limits allow.
        """
        images = column(model_input)
        check_request(images, self.limits)
        read = partial(decode, max_bytes=self.limits.image_bytes, max_pixels=self.limits.image_pixels)
        rows: list[tuple[list[float], str]] = []
        with threads_for(len(images), self.threads):
            for chunk in chunks(map(read, images)):
                embeddings = iter(self._embed([picture for picture in chunk if not isinstance(picture, str)]))
                rows += [([], picture) if isinstance(picture, str) else (next(embeddings), "") for picture in chunk]
        return pd.DataFrame(rows, columns=["embedding", "why"])

    def _embed(self, images: list[Image]) -> list[list[float]]:
        if not images:
            return []
        pixels = np.stack([to_square(image, self.encoder.config.input_size) for image in images])
        with torch.inference_mode():
            return self.encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).float().tolist()


set_model(ServedEncoder())
