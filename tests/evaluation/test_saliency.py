import numpy as np
import pytest

from hemacell.evaluation.saliency import saliency_inside


def test_shares_are_those_counted_pixel_by_pixel():
    rng = np.random.default_rng(0)
    seen = np.zeros((12, 12), bool)
    seen[2:10, 2:10] = True
    saliency = (rng.random((4, 12, 12)) * seen).astype(np.float32)
    saliency[2] = 0
    masks = np.round(rng.random((4, 12, 12)), 1).astype(np.float32)
    shares, by_chance = saliency_inside(saliency, masks, seen)
    for n in range(4):
        within = total = area = 0.0
        for y in range(12):
            for x in range(12):
                within += float(saliency[n, y, x]) * float(masks[n, y, x])
                total += float(saliency[n, y, x])
                area += float(masks[n, y, x]) * seen[y, x] / 64
        assert by_chance[n] == pytest.approx(area)
        assert np.isnan(shares[n]) if n == 2 else shares[n] == pytest.approx(within / total)


def test_even_heat_has_the_share_of_chance_and_the_best_has_all():
    seen = np.ones((6, 6), bool)
    mask = np.zeros((2, 6, 6), np.float32)
    mask[:, 1:4, 1:4] = 1
    saliency = np.stack([np.ones((6, 6), np.float32), mask[0] * 0.3])
    shares, by_chance = saliency_inside(saliency, mask, seen)
    assert shares == pytest.approx([0.25, 1.0]) and by_chance == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 5, 6)])
def test_shapes_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="expected"):
        saliency_inside(np.ones((1, 6, 6), np.float32), np.ones(shape, np.float32), np.ones((6, 6), bool))
