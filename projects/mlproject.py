"""Write MLproject from the jobs' settings: `python -m projects.mlproject`.

Every parameter is a string: MLflow checks no type but `path`, and that one leaves a run unfinished when the folder is
missing; the job checks all of them. MLflow quotes each value for the shell before it fills the command, so the command
itself has no quotes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hemacell.config.base import JobSettings, default_text

MLPROJECT = Path(__file__).resolve().parent.parent / "MLproject"

_HEAD = """\
# Written by `python -m projects.mlproject` from projects/settings.py: change the settings there.
name: hemacell
python_env: python_env.yaml
entry_points:
"""


def render(jobs: Mapping[str, type[JobSettings]]) -> str:
    """Return the text of MLproject with one entry point a job, which runs `python -m projects.<job>`."""
    return _HEAD + "\n".join(_entry_point(job, settings) for job, settings in jobs.items())


def _entry_point(job: str, settings: type[JobSettings]) -> str:
    lines = [f"  {job}:"]
    if settings.model_fields:
        lines.append("    parameters:")
    for name, field in settings.model_fields.items():
        lines.append(f"      {name}: {{type: string, default: {json.dumps(default_text(field))}}}")
    lines += ["    command: >-", f"      python -m projects.{job}"]
    lines += [f"      --{name} {{{name}}}" for name in settings.model_fields]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write MLproject at the root of the project."""
    from hemacell.config.jobs import JOBS

    MLPROJECT.write_text(render(JOBS), encoding="utf-8")
    print(f"wrote {MLPROJECT}")


if __name__ == "__main__":
    main()
