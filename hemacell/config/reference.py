"""The reference of all settings, as Markdown: `python -m hemacell.config.reference` prints it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from hemacell.config.base import JobSettings, default_text, expectation
from hemacell.config.jobs import JOBS


def reference(jobs: Mapping[str, type[JobSettings]]) -> str:
    """Return one section for each job: what it does, how it is called, and a table of its settings.

    Args:
        jobs: name of the job -> its settings.
    """
    return "\n".join(_section(name, settings) for name, settings in jobs.items())


def _section(job: str, settings: type[JobSettings]) -> str:
    summary, _, examples = inspect.cleandoc(settings.__doc__ or "").partition("\n\n")
    rows = [
        f"| `{name}` | {_code(default_text(field))} | {_cell(expectation(field))} | {_cell(field.description or '')} |"
        for name, field in settings.model_fields.items()
    ]
    table = "\n".join(["| setting | default | accepts | meaning |", "| --- | --- | --- | --- |", *rows])
    return f"## {job}\n\n{summary}\n\n```sh\n{examples}\n```\n\n{table}\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    """Text in a table: bars and angle brackets stand for themselves."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(reference(JOBS))
