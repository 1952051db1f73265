"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """A mistake that the user can mend.

    Its text is one line: what was expected, what was found, what to type instead. The command line prints it
    without a traceback and exits with 2.
    """
