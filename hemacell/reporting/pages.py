"""Pages of HTML and Markdown from the templates of this package."""

from typing import Any

import jinja2


def template_environment(**settings: Any) -> jinja2.Environment:
    """The templates; every value is escaped, and a name that is not given is an error.

    Args:
        settings: of the environment, beyond these.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader("hemacell.reporting", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
