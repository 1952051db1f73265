"""What a user sees of the messages of a job."""

import logging

import pytest

from hemacell.core.logging import configure_logging


@pytest.mark.parametrize("name", ["hemacell.jobs.context", "projects.wbc", "__main__"])
def test_messages_are_plain_lines_on_standard_error(name, capsys):
    configure_logging()
    configure_logging()  # a job inside another one
    logger = logging.getLogger(name)
    logger.debug("unseen")
    logger.info("3 images in a\nb.png, 100 %")
    logger.warning("one is unreadable")
    assert capsys.readouterr() == ("", "3 images in a b.png, 100 %\nwarning: one is unreadable\n")


def test_the_root_logger_of_another_program_does_not_repeat_them(capsys):
    configure_logging()
    other = logging.StreamHandler()
    logging.getLogger().addHandler(other)
    try:
        logging.getLogger("hemacell.x").info("once")
    finally:
        logging.getLogger().removeHandler(other)
    assert capsys.readouterr().err == "once\n"
