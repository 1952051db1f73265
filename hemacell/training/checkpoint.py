"""Checkpoints of a training: tensors as safetensors, the rest as its JSON header; no pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hemacell.core.errors import UserError, in_one_line
from hemacell.core.files import atomic_write, disk_error


def save_checkpoint(file: Path, tensors: dict[str, dict[str, Tensor]], facts: dict[str, Any]) -> None:
    """Write groups of tensors and JSON-able facts, so that at every moment the old or the new file is whole."""
    flat = {
        f"{group}:{name}": value.detach().contiguous()
        for group, values in tensors.items()
        for name, value in values.items()
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as unfinished:
            save_file(flat, unfinished, metadata={"facts": json.dumps(facts)})
    except (OSError, SafetensorError) as error:
        remedy = "set HEMACELL_CACHE to another folder, and continue with resume="
        raise disk_error(error, f"{file}: the checkpoint could not be written", remedy) from error


def load_checkpoint(file: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read what `save_checkpoint` wrote.

    Raises:
        UserError: it cannot be read or is no checkpoint.
    """
    tensors: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(file, "pt") as stored:
            facts = json.loads((stored.metadata() or {})["facts"])
            for key in stored.keys():  # noqa: SIM118  (not a dict)
                group, name = key.split(":", 1)
                tensors.setdefault(group, {})[name] = stored.get_tensor(key)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{file}: expected a checkpoint, could not read it ({in_one_line(error)})") from error
    return tensors, facts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as flat tensors, `<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value) for number, values in state.items() for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
