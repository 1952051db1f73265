"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """A mistake that the user can mend.

    Its text is one line: what was expected, what was found, what to type instead. The command line prints it
    without a traceback and exits with 2.
    """


def in_one_line(error: Exception) -> str:
    """The text of an error from elsewhere, fit for a `UserError`."""
    return " ".join(str(error).split())
