"""The state of the sources, as git knows it."""

from __future__ import annotations

import subprocess
from pathlib import Path

_TIMEOUT_S = 10


def checkout_state(package: Path) -> tuple[str, bool] | None:
    """The commit of the checkout that holds a package, and whether it has changes that are not committed.

    Args:
        package: its folder.

    Returns:
        None without git or a checkout: an installed package may lie inside another repository, whose commit says
        nothing about it.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package.parent, "status", "--porcelain")
    if commit is None or changes is None:
        return None
    return commit, bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it is not installed, hangs or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
