"""Add a source of images, in one file outside the package: here labelled pictures that lie in one .npz file.

The file has `images`, uint8 [N, H, W, 3]; `labels`, int [N]; and `names`, of the classes, as many as there are.

    python add_a_source.py --encoders none --data cells.npz

In an installed package, an entry point makes it known to every command, `mlflow run` too:

    [project.entry-points."hemacell.sources"]
    npz = "my_package.add_a_source"
"""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from hemacell.data.manifest import Card
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.listing import Item, Listing


@source("cells in a .npz file", jobs=("wbc",))
class NpzCells(Source):
    """Every picture of the file; train, val and test are made of them."""

    card = Card(license="CC BY 4.0", citation="A. Author, Journal of Cells, 2026")

    @classmethod
    def matches(cls, root: Path) -> bool:
        return root.suffix == ".npz" and root.is_file()

    def listing(self, options: SourceOptions) -> Listing:
        self.refuse(options)
        names = list(map(str, self._stored["names"]))
        items = [
            Item(f"{self.root.name}#{number}", names[label], sha256=hashlib.sha256(pixels.tobytes()).hexdigest())
            for number, (pixels, label) in enumerate(zip(self._stored["images"], self._stored["labels"], strict=True))
        ]
        return Listing(self.root.stem, self.root.parent, items)

    def read(self, locator: str) -> Image.Image:
        return Image.fromarray(self._stored["images"][int(locator.rpartition("#")[2])])

    @cached_property
    def _stored(self) -> dict[str, np.ndarray]:
        with np.load(self.root, allow_pickle=False) as file:
            return {name: file[name] for name in ("images", "labels", "names")}


if __name__ == "__main__":
    from hemacell.cli import main
    from hemacell.config.jobs import WbcSettings
    from projects.wbc import run

    main(WbcSettings, run)
