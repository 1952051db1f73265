"""Means and variances over places: those of numpy in float64, in any layout."""

import numpy as np
import pytest
import torch

from hemacell.encoders.pooling import mean_and_variance


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_they_are_those_of_numpy_even_where_the_mean_is_large(layout):
    features = (
        torch.randn(3, 5, 7, 4, generator=torch.Generator().manual_seed(0)) + 100 * torch.arange(5)[:, None, None]
    )
    given = features.clone().contiguous(memory_format=layout)
    mean, variance = mean_and_variance(given)
    exact = features.double().numpy()
    np.testing.assert_allclose(mean.numpy(), exact.mean((2, 3)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance.numpy(), exact.var((2, 3)), rtol=1e-4)
    assert torch.equal(given, features)
