"""PCA of patches against a singular value decomposition."""

import numpy as np
import pytest
import torch

from hemacell.encoders.patch_pca import PatchPCA


def images(count=6, side=16, seed=0):
    """Correlated pixels in [0.2, 0.8], so that clamping plays no part."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(0, 1, (count, 3, side // 4, side // 4)).repeat(4, 2).repeat(4, 3)
    mixed = rough + 0.3 * rng.normal(0, 1, (count, 3, side, side))
    return torch.from_numpy(0.2 + 0.6 * (mixed - mixed.min()) / np.ptp(mixed)).float()


def patches(pictures, patch):
    """Slowly: float64 [patches, 3 * patch * patch], row by row of each picture."""
    cut = []
    for picture in pictures.double().numpy():
        for y in range(0, picture.shape[1], patch):
            cut += [picture[:, y : y + patch, x : x + patch].ravel() for x in range(0, picture.shape[2], patch)]
    return np.array(cut)


def together(cut, shape, patch):
    result, rows = np.empty(shape), iter(cut)
    for picture in result:
        for y in range(0, shape[2], patch):
            for x in range(0, shape[3], patch):
                picture[:, y : y + patch, x : x + patch] = next(rows).reshape(3, patch, patch)
    return result


@pytest.mark.parametrize(("patch", "components"), [(4, 5), (8, 17), (2, 1)])
def test_reconstructions_are_those_of_the_leading_singular_vectors(patch, components):
    train, others = images(), images(count=3, seed=1)
    seen = patches(train, patch)
    axes = np.linalg.svd(seen - seen.mean(0), full_matrices=False)[2][:components]
    expected = (patches(others, patch) - seen.mean(0)) @ axes.T @ axes + seen.mean(0)
    found = PatchPCA(patch, components).fit(train).reconstruct(others)
    assert found.dtype == torch.float32
    assert found.numpy() == pytest.approx(together(expected, others.shape, patch), abs=1e-4)


def test_all_components_keep_everything():
    train, others = images(), images(seed=1)
    found = PatchPCA(4, 48).fit(train).reconstruct(others)
    assert torch.allclose(found, others, atol=1e-5)


def test_more_components_lose_less():
    pictures = images()
    lost = [float((PatchPCA(4, n).fit(pictures).reconstruct(pictures) - pictures).square().mean()) for n in (1, 8, 40)]
    assert lost[0] > lost[1] > lost[2] > 0


def test_only_so_many_patches_are_looked_at_and_the_seed_picks_them():
    pictures = images(count=20)
    few, same, others = (PatchPCA(4, 3).fit(pictures, seed, most=60).reconstruct(pictures) for seed in (0, 0, 1))
    assert torch.equal(few, same) and not torch.equal(few, others)


def test_results_are_pictures():
    pictures = (images() - 0.5) * 10
    found = PatchPCA(4, 3).fit(pictures).reconstruct(pictures)
    assert found.min() == 0 and found.max() == 1
