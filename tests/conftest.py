"""Images for the tests: the drawn sample, always; real ones where they lie beside the project."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hemacell.data.sources.sample import sample_folder


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
def known_to():
    """A description of known cells, which are noise, that fits a classifier: (config, network) -> Reference."""

    def make(config, network):
        import numpy as np

        from hemacell.classifiers.ood import Reference, statistics

        rng = np.random.default_rng(5)
        pixels = rng.integers(0, 256, (24, config.decoded_size, config.decoded_size, 3), dtype=np.uint8)
        found = statistics(network.cell, pixels, np.arange(len(pixels)), size=config.size, crop=config.crop)
        return Reference.fit(found, rng.integers(0, 2, 24)).limited(found, 0.1)

    return make
