"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """A mistake that the user can mend.

    Its text is one line: what was expected, what was found, what to type instead. The command line prints it
    without a traceback and exits with 2.
    """


def in_one_line(error: Exception) -> str:
    """The text of an error from elsewhere, fit for a `UserError`."""
    return " ".join(str(error).split())


def no_text(name: str) -> str:
    """A file's name that holds bytes that are no UTF-8, as it can be shown (`caf\\udce9`); '' where it is text.

    The systems allow any bytes in a name; tables, digests and MLflow's database hold only text.
    """
    shown = name.encode("utf-8", "backslashreplace").decode()
    return "" if shown == name else shown
