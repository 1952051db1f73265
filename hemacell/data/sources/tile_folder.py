"""A folder with nothing but image files, which have no labels: tiles for the pretraining of an autoencoder."""

from pathlib import Path

from hemacell.data.images import is_image
from hemacell.data.manifest import Manifest
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.course import CourseTiles, tile_manifest


@source("a folder of tiles", jobs=("prcc",))
class TileFolder(Source):
    """`<root>/*.png` and further image files, grouped by the patient or field in their names."""

    classes = ()

    @classmethod
    def matches(cls, root: Path) -> bool:
        return root.is_dir() and not CourseTiles.matches(root) and any(map(is_image, root.iterdir()))

    def manifest(self, options: SourceOptions) -> Manifest:
        self.refuse(options)
        return tile_manifest(self.root, self.root.name, self.root.parent)
