"""Which process a run belongs to, and whether it is still there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from hemacell.tracking.schema import ERROR, HOST, PID, STARTED
from hemacell.tracking.store import get_client, search_runs

# The start time is derived from the boot time, which the system's clock may shift a little.
_CLOCK_SLACK_S = 5.0


def this_host() -> str:
    """Host name, with the PID namespace where there are several: a container's PIDs mean nothing outside it."""
    name = socket.gethostname()
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux, no namespaces
        return name
    return f"{name} {namespace}"


def process_tags() -> dict[str, str]:
    """Tags that name this process: host, PID and start time (PIDs are used again)."""
    import psutil

    return {HOST: this_host(), PID: str(os.getpid()), STARTED: f"{psutil.Process().create_time():.2f}"}


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that wrote these tags on this host still runs (a zombie does not)."""
    import psutil

    try:
        process = psutil.Process(int(tags[PID]))
        same = abs(process.create_time() - float(tags[STARTED])) < _CLOCK_SLACK_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def mark_stale_runs() -> list[str]:
    """Mark runs as KILLED that are RUNNING but whose process, on this host, has ended.

    After SIGKILL or a power cut no process was left to do it. The run that `mlflow run` made carries the tags of the
    job inside it and is marked too. Runs of other hosts are left alone.

    Returns:
        The ids of the runs that were marked.
    """
    client = get_client()
    running = search_runs(f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{this_host()}'")
    gone = [run for run in running if {PID, STARTED} <= run.data.tags.keys() and not is_alive(run.data.tags)]
    for run in gone:
        client.set_tag(run.info.run_id, ERROR, "its process ended without closing it (SIGKILL or a power cut)")
        client.set_terminated(run.info.run_id, status="KILLED")
    return [run.info.run_id for run in gone]
