"""The reference of all settings, as Markdown: `python -m hemacell.config.reference` prints it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from pydantic.fields import FieldInfo

from hemacell.config.base import Settings, default_text, expectation
from hemacell.config.jobs import JOBS
from hemacell.config.roles import Role, role_of


def reference(jobs: Mapping[str, type[Settings]]) -> str:
    """Return what the roles mean, then for each job what it does, how it is called, and a table of its settings.

    Args:
        jobs: name of the job -> its settings.
    """
    roles = "\n".join(f"| {role.name.lower()} | {role.value} |" for role in Role)
    legend = f"| role | what the setting means to a run |\n| --- | --- |\n{roles}\n"
    return "\n".join([legend, *(_section(name, settings) for name, settings in jobs.items())])


def _section(job: str, settings: type[Settings]) -> str:
    summary, _, examples = inspect.cleandoc(settings.__doc__ or "").partition("\n\n")
    head = "| setting | default | accepts | meaning | role |\n| --- | --- | --- | --- | --- |\n"
    table = head + "\n".join(_row(name, field) for name, field in settings.model_fields.items())
    return f"## {job}\n\n{summary}\n\n```sh\n{examples}\n```\n\n{table}\n"


def _row(name: str, field: FieldInfo) -> str:
    default, role = default_text(field), role_of(field)
    texts = (f"`{default}`" if default else "", _cell(expectation(field)), _cell(field.description or ""))
    return f"| `{name}` | {' | '.join(texts)} | {role.name.lower() if role else ''} |"


def _cell(text: str) -> str:
    """Text in a table: bars and angle brackets stand for themselves."""
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(reference(JOBS))
