"""MkDocs hook: the lists of all settings are made from the settings themselves, so that they are never out of date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLACE = "<!-- settings -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the settings where a page asks for them."""
    if PLACE not in markdown:
        return markdown
    command = [sys.executable, "-m", "hemacell.config.reference"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return markdown.replace(PLACE, made.stdout)
