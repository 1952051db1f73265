"""The exception for a mistake of the user, and words for errors."""


class UserError(Exception):
    """A mistake that the user can correct.

    Its text is one line: what was expected, what was found, what to type instead. The command line prints it
    without a traceback and exits with 2.
    """


def in_one_line(error: Exception) -> str:
    """The text of an error, fit for a `UserError`; the name of its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


def no_text(name: str) -> str:
    """The printable form (`caf\\udce9`) of a file name whose bytes are not UTF-8; '' for a name that is text.

    Linux allows any bytes in a name; tables, digests and MLflow's database hold only text.
    """
    shown = name.encode("utf-8", "backslashreplace").decode()
    return "" if shown == name else shown
