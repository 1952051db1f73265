"""Tasks side by side: retried, told of, stopped; a worker that dies takes only its own task with it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from hemacell.execution.local import Task, run_tasks

REPO = Path(__file__).parents[2]

# what a task asks of its worker stands in the message
WORKER = """
import os, sys, time
from hemacell.execution.local import answer_tasks

def do(message):
    what, folder = message["do"], message.get("folder")
    print("a job prints what it likes")
    if what == "add":
        return {"sum": message["a"] + message["b"], "pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")}
    if what == "raise":
        raise ValueError("not\\n  today")
    if what == "die":
        os.kill(os.getpid(), 9)
    if what == "fail once":
        mark = os.path.join(folder, "been here")
        if not os.path.exists(mark):
            open(mark, "w").close()
            os._exit(3)
        return "at last"
    if what == "meet":  # ends only if another worker comes here at the same time
        open(os.path.join(folder, message["me"]), "w").close()
        while len(os.listdir(folder)) < message["all"]:
            time.sleep(0.01)
        return message["me"]
    if what == "sleep":
        open(os.path.join(folder, "asleep " + str(os.getpid())), "w").close()
        time.sleep(60)

answer_tasks(do)
"""


@pytest.fixture
def run(tmp_path):
    """Run tasks with the worker above; `run.seen` holds what was reported."""

    def run(tasks, workers=1, **more):
        return run_tasks(
            [Task(name, message) for name, message in tasks.items()],
            [sys.executable, "-c", WORKER],
            workers=workers,
            environment={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
            logs=tmp_path / "logs",
            report=lambda outcome, at_work: run.seen.append((outcome.task.name, outcome.attempt, outcome.error)),
            **more,
        )

    run.seen = []
    return run


def test_a_worker_is_started_once_and_outcomes_come_in_the_order_of_the_tasks(run):
    outcomes = run({f"{n}": {"do": "add", "a": n, "b": 1} for n in range(5)})
    assert [outcome.result["sum"] for outcome in outcomes] == [1, 2, 3, 4, 5]
    assert len({outcome.result["pid"] for outcome in outcomes}) == 1
    assert {outcome.result["threads"] for outcome in outcomes} == {"1"}
    assert run.seen == [(f"{n}", 1, "") for n in range(5)]


def test_several_workers_work_at_the_same_time(run, tmp_path):
    (tmp_path / "room").mkdir()
    meeting = {name: {"do": "meet", "me": name, "all": 2, "folder": str(tmp_path / "room")} for name in "ab"}
    assert [outcome.result for outcome in run(meeting, workers=2)] == ["a", "b"]


def test_a_task_that_fails_is_tried_again_after_the_others_which_go_on(run, tmp_path):
    outcomes = run(
        {
            "once": {"do": "fail once", "folder": str(tmp_path)},
            "bad": {"do": "raise"},
            "killed": {"do": "die"},
            "good": {"do": "add", "a": 1, "b": 1},
        }
    )
    once, bad, killed, good = outcomes
    assert (once.result, once.attempt, once.error) == ("at last", 2, "")
    assert (bad.attempt, bad.error) == (2, "not today")
    assert killed.attempt == 2 and "was ended by SIGKILL" in killed.error and "worker-0.log" in killed.error
    assert good.result["sum"] == 2
    assert [name for name, _, _ in run.seen] == ["once", "bad", "killed", "good", "once", "bad", "killed"]
    assert "exit code 3" in run.seen[0][2]
    log = (tmp_path / "logs" / "worker-0.log").read_text()
    assert "ValueError" in log and "a job prints what it likes" in log


def test_a_worker_that_cannot_start_is_a_failure_and_no_hang(tmp_path):
    (outcome,) = run_tasks(
        [Task("a", {})],
        [sys.executable, "-c", "import sys; sys.exit('no')"],
        workers=2,
        environment=dict(os.environ),
        logs=tmp_path,
    )
    assert outcome.attempt == 2 and "exit code 1" in outcome.error


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1][:3]


def sleepers(folder: Path) -> list[int]:
    return [int(path.name.split()[1]) for path in folder.glob("asleep *")]


def wait_for(true, seconds=30.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def test_an_interrupt_stops_the_workers_and_is_passed_on(run, tmp_path):
    def interrupt():
        wait_for(lambda: len(sleepers(tmp_path)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run({f"{n}": {"do": "sleep", "folder": str(tmp_path)} for n in range(4)}, workers=2)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert not any(alive(pid) for pid in sleepers(tmp_path)) and len(sleepers(tmp_path)) == 2


def test_workers_end_when_the_study_is_killed(tmp_path):
    script = textwrap.dedent(
        f"""
        import os, sys
        from pathlib import Path
        from hemacell.execution.local import Task, run_tasks
        run_tasks([Task("a", {{"do": "sleep", "folder": {str(tmp_path)!r}}})], [sys.executable, "-c", {WORKER!r}],
                  workers=1, environment=dict(os.environ), logs=Path({str(tmp_path / "logs")!r}))
        """
    )
    study = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(REPO)})
    wait_for(lambda: sleepers(tmp_path))
    study.send_signal(signal.SIGKILL)
    study.wait()
    wait_for(lambda: not any(alive(pid) for pid in sleepers(tmp_path)))


def test_one_is_told_what_is_at_work_while_nothing_ends(tmp_path):
    told = []

    def waiting(at_work):
        told.append(list(at_work))
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(
            [Task("a", {"do": "sleep", "folder": str(tmp_path)})],
            [sys.executable, "-c", WORKER],
            workers=1,
            environment={**os.environ, "PYTHONPATH": str(REPO)},
            logs=tmp_path / "logs",
            waiting=waiting,
        )
    assert told == [["a"], ["a"]] and not any(alive(pid) for pid in sleepers(tmp_path))
