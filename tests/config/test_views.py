"""How many views a prediction is averaged over, where nobody says."""

import pytest

from hemacell.config.jobs import WbcSettings


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"encoders": ("none",)}, 2),
        ({"encoders": ("morphology",)}, 2),
        ({"encoders": ("imagenet", "morphology")}, 1),
        ({"encoders": ("imagenet",), "method": "linear_probe"}, 2),
        ({"encoders": ("imagenet",), "tta_views": 8}, 8),
        ({"encoders": ("none",), "tta_views": 1}, 1),
    ],
)
def test_one_view_is_enough_beside_frozen_networks(asked, expected):
    assert WbcSettings(**asked).prediction_views == expected
