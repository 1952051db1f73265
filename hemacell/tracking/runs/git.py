"""The state of the sources, as git knows it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import hemacell
from hemacell.tracking.schema import GIT_COMMIT, GIT_DIRTY

_TIMEOUT_S = 10


def git_tags() -> dict[str, str]:
    """`git.commit` and `git.dirty` (true | false) of the checkout that holds this package.

    Returns:
        An empty mapping where there is no git or no checkout: an installed package may lie inside somebody
        else's repository, whose commit says nothing about it.
    """
    package = Path(hemacell.__file__).resolve().parent
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {}
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package.parent, "status", "--porcelain")
    if commit is None or changes is None:
        return {}
    return {GIT_COMMIT: commit, GIT_DIRTY: "true" if changes else "false"}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it is not installed, hangs or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
