import numpy as np
import pytest

from hemacell.data import channel_stats


def test_equals_numpy_on_the_whole(monkeypatch):
    monkeypatch.setattr(channel_stats, "_CHUNK", 7)
    array = np.random.default_rng(0).integers(0, 256, (50, 9, 11, 3), dtype=np.uint8)
    array[..., 2] //= 3
    mean, deviation = channel_stats.channel_stats(array)
    whole = array.reshape(-1, 3) / 255
    assert np.allclose(mean, whole.mean(0), atol=1e-12) and np.allclose(deviation, whole.std(0), atol=1e-12)
    assert mean.shape == deviation.shape == (3,)


def test_one_colour():
    mean, deviation = channel_stats.channel_stats(np.full((2, 4, 4, 3), 51, np.uint8))
    assert mean.tolist() == pytest.approx([0.2] * 3) and deviation.tolist() == pytest.approx([0] * 3, abs=1e-12)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8)]
)
def test_what_it_refuses(array):
    with pytest.raises(ValueError, match="uint8"):
        channel_stats.channel_stats(array)
