"""Images for the tests: the drawn sample, always; real ones where they lie beside the project."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from hemacell.data.sources.sample import sample_folder

# A machine that does other work too would fail a deadline of 0.2 s an example.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with real images in the course layout; the test is skipped where there is none."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "cs5242"
    if not folder.is_dir():
        pytest.skip("no real images beside the project")
    return folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The built-in sample in a cache of its own, which `$HEMACELL_CACHE` names until the session ends."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEMACELL_CACHE", str(cache))
        patch.delenv("HEMACELL_DATA", raising=False)
        yield sample_folder(cache)


@pytest.fixture(scope="session")
def with_detector():
    """Calibrate a classifier on noise: ClassifierModel -> the same with a detector."""

    def make(model):
        import numpy as np

        from hemacell.classifiers.ood import MahalanobisDetector

        rng = np.random.default_rng(5)
        side = model.config.decoded_size
        features = model.features(rng.integers(0, 256, (24, side, side, 3), dtype=np.uint8), np.arange(24))
        detector = MahalanobisDetector.fit(features, rng.integers(0, 2, 24))
        return model.calibrated(detector.with_false_positive_rate(features, 0.1))

    return make
