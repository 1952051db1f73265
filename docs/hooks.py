"""MkDocs hook: lists of settings and of measurements come from the code itself, and so are never out of date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: What a page asks for -> the module that prints it.
PLACES = {"<!-- settings -->": "hemacell.config.reference", "<!-- measurements -->": "hemacell.data.morphology"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put each list where a page asks for it."""
    for place, module in PLACES.items():
        if place in markdown:
            command = [sys.executable, "-m", module]
            made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            markdown = markdown.replace(place, made.stdout)
    return markdown
