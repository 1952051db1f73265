"""The one loop: against a plain loop, to the bit with the same seed, and to the bit after an interruption."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hemacell.core.errors import UserError
from hemacell.training import loop
from hemacell.training.checkpoint import load_checkpoint, save_checkpoint
from hemacell.training.ema import EmaNetwork
from hemacell.training.loop import LoopSettings, fit, make_fabric
from hemacell.training.schedule import learning_rate

STEPS = 12


def settings(**changes):
    return LoopSettings(**({"steps": STEPS, "learning_rate": 0.02, "num_evals": 4, "device": "cpu"} | changes))


def network(seed=0):
    """BatchNorm has buffers, dropout takes torch's own random numbers.

    A bias before BatchNorm has no gradient but rounding, which AdamW would turn into large steps, so no layer has one.
    """
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(72, 3),
    )


class Task:
    """Tells noise of three brightnesses apart; `scores`, where given, are what validation says."""

    batch_size = 6
    monitor = "val/score"

    def __init__(self, scores=None, factor=1.0):
        self.scores, self.factor = scores, factor
        self.validated = []

    @staticmethod
    def batch(step):
        draw = torch.Generator().manual_seed(step)
        labels = torch.randint(3, (6,), generator=draw)
        return torch.randn(6, 3, 8, 8, generator=draw) + labels.view(6, 1, 1, 1), labels

    def loss(self, module, step):
        images, labels = self.batch(step)
        return F.cross_entropy(module(images).float(), labels) * self.factor

    def validate(self, module):
        assert not module.training
        self.validated.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        with torch.no_grad():
            images, labels = self.batch(10_000)
            loss = float(F.cross_entropy(module(images), labels))
        return {"val/loss": loss, "val/score": self.scores.pop(0) if self.scores else -loss}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def without_speed(history):
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in history]


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_the_weights_are_those_of_a_plain_loop(schedule):
    wanted = settings(
        precision="float32", schedule=schedule, weight_decay=0.3, max_grad_norm=0.5, ema_decay=0.9, learning_rate=0.05
    )
    start = network()
    start[3].p = 0.0
    slow, found = copy.deepcopy(start), fit(Task(), start, wanted)
    decayed = [weight for weight in slow.parameters() if weight.ndim > 1]
    others = [weight for weight in slow.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, 1.0, betas=(0.9, 0.98))
    averaged = EmaNetwork(slow, 0.9)
    slow.train()
    clipped = 0
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, STEPS, 0.05, schedule)
        optimizer.zero_grad()
        Task().loss(slow, step).backward()
        clipped += float(nn.utils.clip_grad_norm_(slow.parameters(), 0.5)) > 0.5
        optimizer.step()
        averaged.update(slow, step)
    assert clipped > STEPS / 2
    expected = averaged.network.state_dict()
    for name, tensor in found.network.state_dict().items():
        assert torch.allclose(tensor, expected[name], atol=1e-5), name


def test_it_learns_and_hands_over_a_network_for_use():
    found = fit(Task(), network(), settings(steps=60, num_evals=6))
    assert found.history[-1]["train/loss"] < 0.7 * found.history[0]["train/loss"]
    assert found.history[-1]["step"] == 60 and found.seconds > 0
    assert not found.network.training


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_same_seed_gives_the_same_bits(precision):
    first = fit(Task(), network(), settings(precision=precision))
    torch.manual_seed(77)  # what happened to torch's own seed before does not count
    torch.rand(5)
    second = fit(Task(), network(), settings(precision=precision))
    assert same(first.network.state_dict(), second.network.state_dict())
    assert without_speed(first.history) == without_speed(second.history)
    other = fit(Task(), network(), settings(precision=precision, seed=1))
    assert not same(first.network.state_dict(), other.network.state_dict())


class Cut(Exception):
    """A power cut."""


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("select", ["last", "best"])
@pytest.mark.parametrize("stops", [[1], [7], [2, 6, 11]], ids=["first step", "middle", "three times"])
def test_an_interrupted_training_ends_with_the_very_same_numbers(stops, select, precision, tmp_path):
    wanted = settings(checkpoint_selection=select, precision=precision, checkpoint_seconds=0.0)
    scores = [0.3, 0.8, 0.5, 0.6]  # the best is neither the first nor the last
    whole = fit(Task(list(scores)), network(), wanted)
    left, rows = list(scores), []
    for stop in stops:

        def cut(done, steps, loss, stop=stop):
            if done == stop + 1:
                raise Cut

        with pytest.raises(Cut):
            fit(Task(left), network(), wanted, rows.append, cut, tmp_path / "x.safetensors")
    seen = []
    resumed = fit(
        Task(left),
        network(seed=5),  # another start: nothing may be left of it
        wanted,
        rows.append,
        lambda done, steps, loss: seen.append(done),
        tmp_path / "x.safetensors",
    )
    assert seen == list(range(stops[-1] + 1, STEPS + 1))
    assert same(resumed.network.state_dict(), whole.network.state_dict())
    assert without_speed(resumed.history) == without_speed(whole.history)
    assert without_speed(rows) == without_speed(whole.history)  # each reported once
    assert resumed.history[-1]["step"] == STEPS


def test_a_checkpoint_of_some_steps_ago_will_do(tmp_path):
    file, old = tmp_path / "x.safetensors", []

    def remember(done, steps, loss):
        if done == 5:
            old.append(file.read_bytes())

    whole = fit(Task(), network(), settings(checkpoint_seconds=0.0), None, remember, file)
    file.write_bytes(old[0])
    resumed = fit(Task(), network(seed=5), settings(checkpoint_seconds=0.0), checkpoint=file)
    assert same(resumed.network.state_dict(), whole.network.state_dict())
    assert without_speed(resumed.history) == without_speed(whole.history)


def test_checkpoints_are_written_now_and_then_and_in_the_end(tmp_path):
    file, there = tmp_path / "x.safetensors", []
    wanted = settings(checkpoint_seconds=1000.0)
    first = fit(Task(), network(), wanted, None, lambda *_: there.append(file.exists()), file)
    assert not any(there) and file.exists()
    steps = []
    again = fit(Task(), network(seed=5), wanted, None, lambda done, *_: steps.append(done), file)
    assert not steps and again.history[-1]["step"] == STEPS
    assert same(again.network.state_dict(), first.network.state_dict())
    assert again.history == first.history and again.seconds == pytest.approx(first.seconds, abs=0.5)


def test_seconds_add_up_over_an_interruption(tmp_path):
    file = tmp_path / "x.safetensors"
    fit(Task(), network(), settings(), checkpoint=file)
    tensors, facts = load_checkpoint(file)
    save_checkpoint(file, tensors, facts | {"seconds": 1000.0})
    assert fit(Task(), network(), settings(), checkpoint=file).seconds == pytest.approx(1000, abs=30)


@pytest.mark.parametrize(("scores", "kept"), [([0.1, 0.9, 0.3, 0.9], 1), ([0.4, 0.3, 0.2, 0.1], 0), ([1, 2, 3, 4], 3)])
def test_the_best_on_val_is_kept_the_first_of_equals(scores, kept):
    task = Task(list(scores))
    found = fit(task, network(), settings(checkpoint_selection="best"))
    assert same(found.network.state_dict(), task.validated[kept])
    task = Task(list(scores))
    assert same(fit(task, network(), settings(checkpoint_selection="last")).network.state_dict(), task.validated[-1])


def test_scores_below_zero_are_kept_too():
    task = Task([-3.0, -1.0, -2.0, -4.0])
    assert same(fit(task, network(), settings(checkpoint_selection="best")).network.state_dict(), task.validated[1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_the_users_line(bad, tmp_path):
    class Breaks(Task):
        def loss(self, module, step):
            return super().loss(module, step) * (bad if step == 6 else 1.0)

    file = tmp_path / "x.safetensors"
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step 7 of 12.*learning_rate") as caught:
        fit(Breaks(), network(), settings(checkpoint_seconds=0.0), checkpoint=file)
    assert "\n" not in str(caught.value)
    tensors, facts = load_checkpoint(file)  # of the step before, still sound
    assert facts["step"] == 6 and all(bool(tensor.isfinite().all()) for tensor in tensors["network"].values())


def test_a_truncated_checkpoint_is_the_users_line(tmp_path):
    file = tmp_path / "x.safetensors"
    fit(Task(), network(), settings(), checkpoint=file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="expected a checkpoint"):
        fit(Task(), network(), settings(), checkpoint=file)


@pytest.mark.parametrize(("steps", "num_evals", "at"), [(12, 4, [3, 6, 9, 12]), (7, 3, [3, 5, 7]), (3, 10, [1, 2, 3])])
def test_reports_are_evenly_spread_and_the_last_is_the_last_step(steps, num_evals, at):
    rows, progress = [], []
    found = fit(
        Task(), network(), settings(steps=steps, num_evals=num_evals), rows.append, lambda *p: progress.append(p)
    )
    assert [row["step"] for row in rows] == at
    assert rows == found.history
    assert rows[0].keys() == {"step", "train/loss", "lr", "images_per_second", "val/loss", "val/score"}
    assert [(done, all_) for done, all_, _ in progress] == [(step + 1, steps) for step in range(steps)]
    losses = [loss for _, _, loss in progress]
    for start, row in zip([0, *at], rows, strict=False):
        assert row["train/loss"] == pytest.approx(sum(losses[start : row["step"]]) / (row["step"] - start))
        assert row["lr"] == learning_rate(row["step"] - 1, steps, 0.02, "onecycle")


def test_the_speed_is_that_of_the_training_without_validation(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Timed(Task):
        def loss(self, module, step):
            clock[0] += 0.25
            return super().loss(module, step)

        def validate(self, module):
            clock[0] += 5.0
            return super().validate(module)

    rows = fit(Timed(), network(), settings()).history
    assert [row["images_per_second"] for row in rows] == [pytest.approx(6 / 0.25)] * 4


def test_a_frozen_part_is_not_trained():
    module = network()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    found = fit(Task(), module, settings(weight_decay=1.0))
    assert torch.allclose(found.network[0].weight, before, atol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_the_users_line():
    with pytest.raises(UserError, match=r"device=cuda: this machine has no GPU.*type device=auto"):
        make_fabric("cuda")


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_precision_is_that_of_the_forward_pass(precision, dtype):
    module, kinds = network(), []
    module[5].register_forward_hook(lambda layer, given, result: kinds.append(result.dtype))
    found = fit(Task(), module, settings(steps=1, num_evals=1, precision=precision))
    assert kinds[0] == dtype
    assert all(weight.dtype == torch.float32 for weight in found.network.parameters())
