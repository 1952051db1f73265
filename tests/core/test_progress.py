"""The progress line, on a terminal and in a log, with a clock of our own."""

import io
import re

import pytest
import tqdm.std

from hemacell.core.progress import Progress, end_lines


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    yield now
    end_lines()


def work(progress, clock, steps, seconds, **said):
    for done in steps:
        clock[0] += seconds
        progress(done, 100, **said)


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(clock):
    log = io.StringIO()
    work(Progress("training", "images", 15.0, log), clock, range(1, 101), 1.0, per_item=64)
    lines = log.getvalue().splitlines()
    assert 6 <= len(lines) <= 9
    assert all(
        re.fullmatch(r"training: \d+/6400, +[\d.]+ images/s, \d\d:\d\d gone, \d\d:\d\d left", line) for line in lines
    )
    assert lines[-1].startswith("training: 6400/6400")
    assert "\r" not in log.getvalue() and "\x1b" not in log.getvalue()


def test_speed_and_time_left(clock):
    log = io.StringIO()
    work(Progress("embedding", "views", 5.0, log), clock, range(1, 92), 0.5)
    last = log.getvalue().splitlines()[-1]
    done, speed, minutes, seconds = re.search(r"(\d+)/100, +([\d.]+) views/s.*, (\d+):(\d+) left", last).groups()
    assert float(speed) == pytest.approx(2, rel=0.05)
    assert int(minutes) * 60 + int(seconds) == pytest.approx((100 - int(done)) / 2, abs=1.5)


def test_a_note_is_shown(clock):
    log = io.StringIO()
    work(Progress("training", stream=log), clock, range(1, 101), 1.0, note="loss 0.123")
    assert all(line.endswith("loss 0.123") for line in log.getvalue().splitlines())


def test_a_resumed_training_shows_the_speed_of_now(clock):
    log = io.StringIO()
    work(Progress("training", "steps", 5.0, log), clock, range(81, 101), 1.0)
    lines = log.getvalue().splitlines()
    speeds = [float(re.search(r"([\d.]+) steps/s", line).group(1)) for line in lines]
    assert len(speeds) >= 3 and max(speeds) < 1.3  # and not 80 steps in the first second


def test_a_terminal_has_one_line_that_is_rewritten(clock):
    screen = Terminal()
    work(Progress("training", stream=screen), clock, range(1, 101), 0.1)
    text = screen.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n")
    states = [state for state in text.split("\r") if state.strip()]
    assert 30 <= len(states) <= 60  # five a second
    assert "100/100" in states[-1]


def test_work_that_is_cut_short_leaves_a_whole_line_and_the_next_one_its_own(clock):
    screen = Terminal()
    work(Progress("decoding", stream=screen), clock, range(1, 51), 0.1)
    assert not screen.getvalue().endswith("\n")
    end_lines()
    assert screen.getvalue().endswith("\n")
    end_lines()  # nothing is left to end
    before = screen.getvalue()
    work(Progress("training", stream=screen), clock, range(1, 101), 0.1)
    assert screen.getvalue().startswith(before) and screen.getvalue()[len(before) :].count("\n") == 1


def test_nothing_is_written_before_there_is_anything_to_say():
    log = io.StringIO()
    Progress("training", stream=log)
    assert log.getvalue() == ""


def test_time_goes_on_where_nothing_is_done(clock):
    log = io.StringIO()
    progress = Progress("study", "steps", 5.0, log)
    work(progress, clock, [50], 1.0, note="first")
    work(progress, clock, [50], 6.0, note="second")
    work(progress, clock, [50], 1.0, note="too soon")
    lines = log.getvalue().splitlines()
    assert lines[-1].startswith("study: 50/100") and lines[-1].endswith("second") and "00:06 gone" in lines[-1]
