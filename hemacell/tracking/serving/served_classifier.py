"""A registered WBC classifier as MLflow serves it. MLflow runs this file ("models from code"); nothing is pickled."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from hemacell.classifiers.folder import load_folder
from hemacell.core.threads import threads_for
from hemacell.prediction.in_memory import predict_table
from hemacell.tracking.serving.limits import check_request, limits_of
from hemacell.tracking.serving.own_code import leave_unused_code
from hemacell.tracking.serving.payload import column, decode


class ServedClassifier(PythonModel):
    """Table with one column `image` (bytes or base64 text of image files) -> table of classes and probabilities."""

    def load_context(self, context: Any) -> None:
        """Load the classifier from the artifact `model`, with the limits in the `model_config`."""
        self.limits = limits_of(context.model_config)
        self.threads = torch.get_num_threads()
        leave_unused_code(Path(context.artifacts["model"]))
        self.predictor = load_folder(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify every row, in order; see `hemacell.prediction.in_memory.predict_table` for the columns.

        The probabilities of an image that cannot be read are None, not NaN: MLflow's server would write NaN into its
        response, which is not JSON.

        Raises:
            MlflowException: the table holds more than the limits allow.
        """
        images = column(model_input)
        check_request(images, self.limits)
        read = partial(decode, max_bytes=self.limits.image_bytes, max_pixels=self.limits.image_pixels)
        with threads_for(len(images), self.threads):
            # each by itself: an answer must not depend on what else is in the request
            table = predict_table(self.predictor, map(read, images), together=False)
        for name in table.columns[table.isna().any()]:
            table[name] = table[name].astype(object).where(table[name].notna(), None)
        return table


set_model(ServedClassifier())
