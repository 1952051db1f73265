"""Checkpoints: whole or not there, and what they give back."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hemacell.core.errors import UserError
from hemacell.training import checkpoint
from hemacell.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint

TENSORS = {
    "network": {"a.weight": torch.arange(24.0).view(2, 3, 2, 2), "b:c": torch.tensor(3)},
    "averaged": {"a.weight": torch.full((2, 3, 2, 2), 1 / 3)},
}
FACTS = {"step": 7, "losses": [0.1, 1 / 3], "history": [{"val/loss": 1e-17}]}


def test_what_goes_in_comes_out(tmp_path):
    save_checkpoint(tmp_path / "made" / "x.safetensors", TENSORS, FACTS)
    tensors, facts = load_checkpoint(tmp_path / "made" / "x.safetensors")
    assert facts == FACTS and tensors.keys() == TENSORS.keys()
    for group, values in TENSORS.items():
        assert tensors[group].keys() == values.keys()
        assert all(torch.equal(tensors[group][name], value) for name, value in values.items())
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["x.safetensors"]


def test_the_memory_layout_does_not_count(tmp_path):
    weight = TENSORS["network"]["a.weight"].contiguous(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "x.safetensors", {"network": {"a": weight}}, {})
    assert torch.equal(load_checkpoint(tmp_path / "x.safetensors")[0]["network"]["a"], weight)


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_truncated_one_is_one_line(left, tmp_path):
    file = save(tmp_path)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UserError, match=r"x.safetensors: expected a checkpoint") as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"facts": "{"}])
def test_a_file_that_is_no_checkpoint_is_one_line(metadata, tmp_path):
    save_file({"network:a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(UserError, match=r"x.safetensors: expected a checkpoint"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_one_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="expected a checkpoint"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


def save(folder):
    save_checkpoint(folder / "x.safetensors", TENSORS, FACTS)
    return folder / "x.safetensors"


def test_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch):
    file = save(tmp_path)

    def full(tensors, where, metadata):
        where.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match=r"disk is full.*continue with resume="):
        save_checkpoint(file, TENSORS, {"step": 8})
    assert load_checkpoint(file)[1] == FACTS
    assert list(tmp_path.iterdir()) == [file]


def trained(steps, optimizer, network):
    for step in range(steps):
        draw = torch.Generator().manual_seed(step)
        optimizer.zero_grad()
        network(torch.randn(4, 3, generator=draw)).square().sum().backward()
        optimizer.step()


def test_an_optimizer_goes_on_as_if_nothing_had_been(tmp_path):
    torch.manual_seed(0)
    network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters(), 0.1)
    trained(4, optimizer, network)
    save_checkpoint(tmp_path / "x", {"network": network.state_dict(), "optimizer": optimizer_tensors(optimizer)}, {})
    tensors, _ = load_checkpoint(tmp_path / "x")
    other.load_state_dict(tensors["network"])
    continued = torch.optim.AdamW(other.parameters(), 0.1)
    restore_optimizer(continued, tensors["optimizer"])
    trained(3, optimizer, network)
    trained(3, continued, other)
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), other.parameters(), strict=True))
