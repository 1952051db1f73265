"""Tasks on several processes: retried, reported, stopped; a process that dies fails its own task only."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.execution.executor import Task, executor_names, get_executor

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run tasks of `tasks.py`; `run.seen` holds the outcomes."""
    monkeypatch.syspath_prepend(str(HERE))
    from tasks import do

    def run(tasks, workers=1, **more):
        executor = get_executor("local")(workers, {"OMP_NUM_THREADS": "1"}, tmp_path / "logs")
        return executor.map(
            do,
            [Task(name, message) for name, message in tasks.items()],
            on_outcome=lambda outcome, running: run.seen.append((outcome.task.name, outcome.attempt, outcome.error)),
            **more,
        )

    run.seen = []
    return run


def test_executors_are_found_by_name():
    assert "local" in executor_names()
    with pytest.raises(UserError, match=r"executor=locl: expected one of .*local"):
        get_executor("locl")


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
            "left": {"do": "exit"},
            "good": {"do": "add", "a": 1, "b": 1},
        }
    )
    once, bad, killed, left, good = outcomes
    assert (once.result, once.attempt, once.error) == ("at last", 2, "")
    assert (bad.attempt, bad.error) == (2, "not today")
    assert killed.attempt == 2 and "was ended by SIGKILL" in killed.error and "worker-0.log" in killed.error
    assert left.attempt == 2 and "exit code 3" in left.error
    assert good.result["sum"] == 2
    first = ["once", "bad", "killed", "left", "good"]
    assert [name for name, _, _ in run.seen] == [*first, "once", "bad", "killed", "left"]
    assert "exit code 3" in run.seen[0][2]
    log = (tmp_path / "logs" / "worker-0.log").read_text()
    assert "ValueError" in log and "a job may print" in log


def test_a_function_that_workers_cannot_import_is_an_error_of_the_task(run, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "only_here.py").write_text("def do(message): return message\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(elsewhere))
        from only_here import do
    (outcome,) = get_executor("local")(1, {}, tmp_path / "logs").map(do, [Task("a", 1)], attempts=1)
    assert "only_here" in outcome.error


def test_a_process_that_cannot_start_is_a_failure_and_no_hang(tmp_path):
    logs = tmp_path / "logs"
    (logs / "worker-0.log").mkdir(parents=True)  # so that the log cannot be opened
    (outcome,) = get_executor("local")(2, {}, logs).map(print, [Task("a", 1)])
    assert outcome.attempt == 2 and "before it took the task" in outcome.error


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
    script = tmp_path / "study.py"
    script.write_text(
        f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(HERE)!r}]
from tasks import do
from hemacell.execution.executor import Task, get_executor
if __name__ == "__main__":
    folder = {str(tmp_path)!r}
    get_executor("local")(1, {{}}, Path(folder) / "logs").map(do, [Task("a", {{"do": "sleep", "folder": folder}})])
"""
    )
    study = subprocess.Popen([sys.executable, str(script)])
    wait_for(lambda: sleepers(tmp_path))
    study.send_signal(signal.SIGKILL)
    study.wait()
    wait_for(lambda: not any(alive(pid) for pid in sleepers(tmp_path)))


def test_the_tasks_in_progress_are_reported_while_none_ends(run, tmp_path):
    seen = []

    def on_wait(running):
        seen.append(list(running))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run({"a": {"do": "sleep", "folder": str(tmp_path)}}, on_wait=on_wait)
    assert seen == [["a"], ["a"]] and not any(alive(pid) for pid in sleepers(tmp_path))
