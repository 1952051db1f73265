"""Where to compute: the setting `device`, the same for training and use."""

import torch

from hemacell.core.errors import UserError


def chosen_device(device: str) -> torch.device:
    """`auto` (a GPU where there is one), `cpu` or `cuda`.

    Raises:
        UserError: a GPU is required, and torch finds none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: this machine has no GPU that torch can use; type device=auto or device=cpu")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
