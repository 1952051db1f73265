"""Fusion of the cell network with projected embeddings."""

import numpy as np
import pytest
import torch

from hemacell.classifiers.fusion_network import FusedClassifier, Projection, mean_logits

SMALL = {"widths": (8, 8, 16, 16), "blocks": (1, 1, 1, 1), "projection": 12}
WIDTHS = {"prcc": 7, "camelyon": 5}


def made(embeddings=WIDTHS, seed=0, **changes):
    torch.manual_seed(seed)
    return FusedClassifier(4, embeddings, **(SMALL | changes))


def given(count=6, embeddings=WIDTHS, seed=0):
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 32, 32, generator=draw)
    return images, [torch.randn(count, width, generator=draw) for width in embeddings.values()]


def test_standardising_is_that_of_numpy():
    embeddings = np.random.default_rng(0).normal(3, 7, (50, 6)).astype(np.float32)
    embeddings[:, 2] = 1.5  # says nothing, and must not be divided by nothing
    projection = Projection(6, 4, 0.0)
    projection.fit(torch.from_numpy(embeddings))
    assert projection.mean.numpy() == pytest.approx(embeddings.mean(0), abs=1e-5)
    expected = embeddings.std(0)
    expected[2] = 1e-4
    assert projection.std.numpy() == pytest.approx(expected, rel=1e-5)
    seen = {}
    projection.linear.register_forward_hook(lambda module, inputs, result: seen.update(standard=inputs[0]))
    assert bool(projection(torch.from_numpy(embeddings)).isfinite().all())
    ordinary = np.delete(seen["standard"].numpy(), 2, axis=1)
    assert ordinary.mean(0) == pytest.approx(np.zeros(5), abs=1e-5)
    assert ordinary.std(0) == pytest.approx(np.ones(5), abs=1e-5)


def test_standardising_travels_with_the_weights():
    network = made()
    network.projections[0].fit(torch.randn(20, 7) * 3 + 2)
    state = network.state_dict()
    assert {"projections.0.mean", "projections.0.std"} <= state.keys()
    other = made(seed=1)
    other.load_state_dict(state)
    for each in (network, other):
        each.eval()
    assert torch.equal(mean_logits(other(*given())), mean_logits(network(*given())))


def test_an_embedding_far_outside_is_held_at_five_deviations():
    projection = Projection(3, 4, 0.0)
    projection.fit(torch.randn(100, 3, generator=torch.Generator().manual_seed(0)))
    edge = projection.mean + 5 * projection.std * torch.tensor([1.0, -1.0, 1.0])
    beyond = projection.mean + 500 * projection.std * torch.tensor([1.0, -1.0, 1.0])
    assert torch.allclose(projection(beyond[None]), projection(edge[None]), atol=1e-5)


@pytest.mark.parametrize("embeddings", [{}, {"prcc": 7}, WIDTHS], ids=["none", "one", "two"])
def test_one_head_a_branch_and_a_common_one(embeddings):
    network = made(embeddings).eval()
    logits = network(*given(embeddings=embeddings))
    assert len(logits) == (len(embeddings) + 2 if embeddings else 1)
    assert all(head.shape == (6, 4) for head in logits)
    assert network.names == list(embeddings)


def test_without_embeddings_it_is_the_cell_network_and_a_head():
    network = made({}).eval()
    images, _ = given()
    assert torch.equal(network(images, [])[0], network.cell_head(network.cell(images)))
    assert not any("projection" in name or "fused" in name for name in network.state_dict())


def test_the_common_head_sees_all_branches_side_by_side():
    network = made().eval()
    images, embeddings = given()
    branches = [network.cell(images)]
    branches += [projection(each) for projection, each in zip(network.projections, embeddings, strict=True)]
    logits = network(images, embeddings)
    heads = [network.cell_head, *network.heads]
    for branch, head, found in zip(branches, heads, logits, strict=False):
        assert torch.equal(head(branch), found)
    assert torch.equal(network.fused_head(torch.cat(branches, 1)), logits[-1])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_embeddings_is_refused(count):
    images, embeddings = given()
    with pytest.raises(ValueError):
        made()(images, [*embeddings, embeddings[0]][:count])


def test_branches_are_left_out_of_the_common_head_only_and_in_training_only():
    network = made(branch_dropout=1.0, dropout=0.0, embedding_dropout=0.0)
    whole = network.eval()(*given())
    without = network.train()(*given())
    for kept, trained in zip(whole[:-1], without[:-1], strict=True):
        assert torch.equal(kept, trained)
    assert torch.equal(without[-1], network.fused_head.bias.expand(6, 4))
    assert not torch.allclose(whole[-1], without[-1])


def test_each_branch_is_left_out_as_often_as_asked_for_each_image_alone():
    network = made(branch_dropout=0.3, dropout=0.0, embedding_dropout=0.0).train()
    images, embeddings = given(count=300)
    seen = {}
    network.fused_head.register_forward_hook(lambda module, inputs, result: seen.update(branches=inputs[0]))
    torch.manual_seed(0)
    with torch.no_grad():
        network(images, embeddings)
    left_out = torch.stack([~part.any(1) for part in seen["branches"].split([32, 12, 12], 1)], 1).float()
    assert left_out.mean(0).tolist() == pytest.approx([0.3] * 3, abs=0.08)
    assert np.corrcoef(left_out.T.numpy())[np.triu_indices(3, 1)] == pytest.approx([0] * 3, abs=0.15)


def test_answers_are_the_same_every_time_and_training_is_not():
    network = made(branch_dropout=0.5)
    assert torch.equal(mean_logits(network.eval()(*given())), mean_logits(network(*given())))
    network.train()
    assert not torch.equal(mean_logits(network(*given())), mean_logits(network(*given())))


@pytest.mark.parametrize("head", [slice(-1, None), slice(0, -1)], ids=["common head", "own heads"])
def test_every_branch_gets_gradients(head):
    network = made(branch_dropout=0.2).train()
    torch.manual_seed(0)
    sum(logits.square().sum() for logits in network(*given(count=16))[head]).backward()
    for branch in (network.cell, *network.projections):
        assert all(weight.grad is not None and bool(weight.grad.any()) for weight in branch.parameters())


def test_the_answer_is_the_mean_of_the_heads():
    heads = [torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -2.0]]), torch.tensor([[2.0, 3.0]])]
    assert torch.equal(mean_logits(heads), torch.tensor([[2.0, 1.0]]))
    assert mean_logits([head.bfloat16() for head in heads]).dtype == torch.float32
