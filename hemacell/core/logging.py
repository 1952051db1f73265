"""Messages to the user: `logging`, configured once, as plain lines on standard error; results go to standard output.

A module writes with `logger = logging.getLogger(__name__)`. A program that imports hemacell configures logging itself;
our own commands call `configure_logging`.
"""

import logging
import sys

#: Loggers of this project; a recipe that is started with `python -m` is called `__main__`.
_OURS = ("hemacell", "projects", "__main__")


class _Lines(logging.Handler):
    """Writes each record as one line to what is standard error at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _PlainText(logging.Formatter):
    """`text`, or `warning: text`; the name of a file may hold line breaks, which are shown as blanks."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return prefix + " ".join(super().format(record).splitlines())


_handler = _Lines()
_handler.setFormatter(_PlainText())


def configure_logging() -> None:
    """Show this project's messages of level INFO and above; further calls change nothing."""
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        if _handler not in logger.handlers:
            logger.addHandler(_handler)
        # handlers of the root logger are another program's, and would show each line twice
        logger.propagate = False
    # Fabric announces its precision; ours is a setting, logged with the run
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
