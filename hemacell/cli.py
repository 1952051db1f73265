"""The command line of a job, made from its settings class: `--name VALUE` for every field.

Only click and the settings are imported here, so that `--help` and error messages appear at once; a job imports heavy
libraries inside its function.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from hemacell.config.base import Settings, default_text, example_text, value_hint
from hemacell.core.errors import UserError, in_one_line
from hemacell.core.logging import configure_logging
from hemacell.core.text import unknown_name

logger = logging.getLogger(__name__)

Chosen = TypeVar("Chosen", bound=Settings)


def main(settings_class: type[Chosen], job: Callable[[Chosen], Any], argv: Sequence[str] | None = None) -> None:
    """Read the command line into `settings_class` and run `job` with it.

    Args:
        settings_class: its docstring heads the help page, its fields become the options.
        job: called with the settings; returns the id of the run that holds the result, '' or None for none.
        argv: the arguments without the program's name; None takes those of the process.

    Raises:
        SystemExit: 2 after one line `error: ...` for what the user can correct: a mistake in the command line or found
            by the job, a full disk, a server that went away; 130 where the user interrupted it.
    """
    configure_logging()
    try:
        settings = parse(settings_class, argv)
        if settings is not None and (run_id := job(settings)):
            _close(run_id)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        mistake = error if isinstance(error, UserError) else _as_user_error(error)
        if mistake is None:
            raise
        print(f"error: {in_one_line(mistake)}", file=sys.stderr)
        sys.exit(2)


def _as_user_error(error: Exception) -> UserError | None:
    """A failure outside an open run that the user can correct, in words; None for a fault of the program."""
    if "mlflow" not in sys.modules:
        return None
    from hemacell.tracking.store import as_user_error

    return as_user_error(error)


def _close(run_id: str) -> None:
    from hemacell.tracking.runs.notes import closing_lines

    for line in closing_lines(run_id):
        logger.info(line)


def parse(settings_class: type[Chosen], argv: Sequence[str] | None = None) -> Chosen | None:
    """Return the settings of a command line, or None where it asked for the help page, which is then printed.

    Raises:
        UserError: an unknown option (with the nearest names), a missing value, or a value that the settings refuse.
    """
    command = click.Command(
        name=None,
        params=_options(settings_class),
        # \b keeps the lines of a paragraph as they are written, which examples need
        help=inspect.cleandoc(settings_class.__doc__ or "").replace("\n\n", "\n\n\b\n"),
        callback=lambda **texts: (texts, click.get_current_context().args),
        options_metavar="[--NAME VALUE]...",
        context_settings={
            "allow_extra_args": True,
            "max_content_width": 110,
            "token_normalize_func": lambda token: token.replace("-", "_"),
        },
    )
    try:
        outcome = command.main(args=None if argv is None else list(argv), standalone_mode=False)
    except click.NoSuchOption as error:
        if not error.option_name.startswith("--"):
            raise UserError(_not_an_option(error.option_name, settings_class)) from None
        known = settings_class.model_fields
        raise UserError(unknown_name("option", error.option_name[2:], known, prefix="--")) from None
    except click.BadOptionUsage as error:
        raise UserError(_no_value(error.option_name.lstrip("-"), settings_class)) from None
    except click.UsageError as error:
        raise UserError(error.format_message()) from None
    if not isinstance(outcome, tuple):  # click's exit code, after --help
        return None
    texts, extra = outcome
    given = {name: text for name, text in texts.items() if text is not None}
    for name, text in given.items():
        # `--force --draw 1`: the next option was taken for the value that is missing
        if text.startswith("--") and text[2:].split("=")[0].replace("-", "_") in settings_class.model_fields:
            raise UserError(_no_value(name, settings_class))
    if extra:
        raise UserError(_not_an_option(extra[0], settings_class))
    return settings_class.from_strings(given)


def _options(settings_class: type[Settings]) -> list[click.Parameter]:
    options: list[click.Parameter] = []
    for name, field in settings_class.model_fields.items():
        default = default_text(field)
        note = f" [default: {default}]" if default else ""
        options.append(
            click.Option([f"--{name}"], type=str, metavar=value_hint(field), help=f"{field.description}{note}")
        )
    return options


def _no_value(name: str, settings_class: type[Settings]) -> str:
    example = example_text(settings_class.model_fields[name]) or "VALUE"
    return f"--{name} needs a value; type for example --{name} {example}"


def _not_an_option(found: str, settings_class: type[Settings]) -> str:
    name, _, value = found.partition("=")
    if name.replace("-", "_") in settings_class.model_fields:
        return f"expected --NAME VALUE, found '{found}'; type --{name} {value or 'VALUE'}"
    return f"expected --NAME VALUE, found '{found}'; --help lists the names"
