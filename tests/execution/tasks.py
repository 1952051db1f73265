"""What the workers of `test_local.py` do: a module of its own, since they import it."""

import os
import time
from pathlib import Path
from typing import Any


def do(message: dict[str, Any]) -> Any:
    """Do what the message asks for."""
    folder = Path(message.get("folder", "."))
    print("a job may print")
    match message["do"]:
        case "add":
            return {
                "sum": message["a"] + message["b"],
                "pid": os.getpid(),
                "threads": os.environ.get("OMP_NUM_THREADS"),
            }
        case "raise":
            raise ValueError("not\n  today")
        case "die":
            os.kill(os.getpid(), 9)
        case "exit":
            raise SystemExit(3)
        case "fail once":
            mark = folder / "been here"
            if not mark.exists():
                mark.touch()
                os._exit(3)
            return "at last"
        case "meet":  # ends only if another worker comes here at the same time
            (folder / message["me"]).touch()
            while len(list(folder.iterdir())) < message["all"]:
                time.sleep(0.01)
            return message["me"]
        case "sleep":
            (folder / f"asleep {os.getpid()}").touch()
            try:
                time.sleep(60)
            finally:
                (folder / f"ended {os.getpid()}").touch()
    return None
