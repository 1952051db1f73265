"""Start a classifier from one that was trained before."""

import json
from collections.abc import Collection
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from hemacell.classifiers.description import DESCRIPTION, TRAINED_ON, WEIGHTS
from hemacell.classifiers.fusion_network import FusedClassifier
from hemacell.core.errors import UserError, in_one_line


def warm_start(network: FusedClassifier, folder: Path, images: Collection[str]) -> None:
    """Take over the weights of a registered classifier: the cell network always, the rest where it fits.

    Args:
        network: changed in place.
        folder: of the classifier to start from.
        images: digests of the images of this draw.

    Raises:
        UserError: it learnt from images outside this draw (val or test may be among them), or it is another network.
    """
    try:
        seen = set(json.loads((folder / TRAINED_ON).read_text(encoding="utf-8")))
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        encoders, method = described["encoders"], described["method"]
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"init_from: expected a registered classifier, found {folder} ({in_one_line(error)})"
        ) from error
    if method != "fusion":
        raise UserError(f"init_from: that model is of method={method}; only one of method=fusion can be started from")
    outside = len(seen - set(images))
    if outside:
        raise UserError(
            f"init_from: that model learnt from {outside} of {len(seen)} images that are not in this draw, so its "
            "test would not be fair; name a model of the same draw and at most the same fraction"
        )
    own = network.state_dict()
    # what was learnt on one encoder's embeddings, or fixed by their mean, says nothing about another's of that width
    taken = ["cell.", "cell_head."]
    for place, pair in enumerate(zip(encoders, network.names, strict=False)):
        taken += [f"projections.{place}.", f"heads.{place}."] if pair[0] == pair[1] else []
    taken += ["fused_head."] if encoders == network.names else []
    fitting = {
        name: tensor
        for name, tensor in weights.items()
        if name.startswith(tuple(taken)) and name in own and own[name].shape == tensor.shape
    }
    if any(name.startswith("cell.") and name not in fitting for name in own):
        raise UserError("init_from: that model has another cell network; leave init_from= out")
    network.load_state_dict({**own, **fitting})
