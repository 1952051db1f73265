"""Where everything that can be made again is kept."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The folder for decoded images, the sample, embeddings and fetched models (not made here).

    `$HEMACELL_CACHE`, else `$XDG_CACHE_HOME/hemacell`, else `~/.cache/hemacell`.
    """
    if own := os.environ.get("HEMACELL_CACHE"):
        return Path(own).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "hemacell"
    return Path.home() / ".cache" / "hemacell"
