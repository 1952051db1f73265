"""How fast a registered model is loaded and served, and how much memory its server takes.

    python benchmarks/serving.py --model models:/hemacell-wbc@champion [--images DIR] [--requests 200] [--flight 50]

Starts `mlflow models serve` on loopback, with the threads that it takes by itself, and sends it images of DIR (without
it, of the built-in sample), one per request, as JSON. Loading is measured in a fresh process each, with the files of
the model in the cache: all of it, and the same once more, when everything is imported. Times of requests are those that
the client sees; with them stands the processor time of the server, which other work on the machine changes less. The
memory is the largest sum over the server's processes, libraries and model included.
"""

import argparse
import base64
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests

import hemacell
from hemacell.core.cache import cache_dir
from hemacell.core.threads import available_cores
from hemacell.data.sources.sample import sample_folder
from hemacell.prediction.inputs import read_inputs

_LOADING = """
import time
started = time.perf_counter()
{imports}
imported = time.perf_counter()
for _ in range(2):
    print(time.perf_counter() - imported)
    {load}
print(time.perf_counter() - imported)
print(imported - started)
"""


def main() -> None:
    """Measure once and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models:/hemacell-wbc@champion")
    parser.add_argument("--images", default="", help="folder of images; the built-in sample without it")
    parser.add_argument("--requests", type=int, default=200, help="one after the other")
    parser.add_argument("--flight", type=int, default=50, help="all at once")
    asked = parser.parse_args()

    # The first load fetches the files, and is not counted.
    hemacell.load(asked.model)
    print(f"{asked.model} on {available_cores()} cores")
    _print_loading("hemacell.load", "import hemacell", f"hemacell.load({asked.model!r})")
    _print_loading("mlflow.pyfunc.load_model", "import mlflow", f"mlflow.pyfunc.load_model({asked.model!r})")

    inputs = read_inputs(asked.images or str(sample_folder(cache_dir()) / "WBC_100" / "test" / "data"))
    paths = [inputs.path(number) for number in range(min(len(inputs), max(asked.requests, asked.flight)))]
    bodies = [_body(path) for path in paths if path]
    started = time.perf_counter()
    with _server(asked.model) as (url, process, memory):
        print(f"server: answers {time.perf_counter() - started:.1f} s after the command")
        with requests.Session() as session:
            for number in range(5):  # so that buffers and threads are there
                _ask(session, url, bodies[number % len(bodies)])
            spent = _spent(process)
            times = [_ask(session, url, bodies[number % len(bodies)]) for number in range(asked.requests)]
            spent = _spent(process) - spent
        middle, late = np.percentile([1000 * took for took, _ in times], [50, 95])
        print(
            f"{asked.requests} requests of one image: {_good(times)} answered with 200, median {middle:.0f} ms, "
            f"95th percentile {late:.0f} ms, {1000 * spent / asked.requests:.0f} ms of processor time each"
        )
        gate = threading.Barrier(asked.flight)

        def one(number: int) -> tuple[float, int]:
            with requests.Session() as session:
                gate.wait()
                return _ask(session, url, bodies[number % len(bodies)])

        started, spent = time.perf_counter(), _spent(process)
        with ThreadPoolExecutor(asked.flight) as pool:
            times = list(pool.map(one, range(asked.flight)))
        print(
            f"{asked.flight} requests in flight: {_good(times)} answered with 200, longest "
            f"{1000 * max(took for took, _ in times):.0f} ms, all in {time.perf_counter() - started:.1f} s, "
            f"{1000 * (_spent(process) - spent) / asked.flight:.0f} ms of processor time each"
        )
    print(f"server: peak memory {memory[0] / 2**20:.0f} MiB")


def _print_loading(name: str, imports: str, load: str) -> None:
    script = _LOADING.format(imports=imports, load=load)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    start, first, second, imported = map(float, done.stdout.split()[-4:])
    print(
        f"{name}: {first - start:.1f} s in a fresh process ({imports}: {imported:.1f} s before), "
        f"{second - first:.1f} s the second time"
    )


def _body(path: Path) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(path.read_bytes()).decode()]]}}


def _ask(session: requests.Session, url: str, body: dict[str, Any]) -> tuple[float, int]:
    """Seconds and status of a request; an answer that holds no class counts as 500."""
    started = time.perf_counter()
    answer = session.post(f"{url}/invocations", json=body, timeout=120)
    took = time.perf_counter() - started
    read = answer.ok and answer.json()["predictions"][0]["class"]
    return took, answer.status_code if read or not answer.ok else 500


def _good(times: list[tuple[float, int]]) -> int:
    return sum(status == 200 for _, status in times)


@contextmanager
def _server(model: str) -> Iterator[tuple[str, psutil.Process, list[float]]]:
    """A model server: its address, its process, and the largest memory so far in bytes (a list of one number)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", model, "-h", "127.0.0.1", "-p", str(port)]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    memory, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            memory[0] = max(memory[0], sum(_resident(each) for each in _family(process)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                if requests.get(f"{url}/ping", timeout=5).ok:
                    break
            except requests.ConnectionError:
                if process.poll() is not None:
                    raise SystemExit(
                        f"the server of {model} ended at once; its own words: {' '.join(command)}"
                    ) from None
            time.sleep(0.05)
        yield url, process, memory
    finally:
        stop.set()
        watcher.join()
        family = _family(process)
        for each in family:
            each.kill()
        psutil.wait_procs(family)


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _spent(process: psutil.Process) -> float:
    """Processor time so far, in seconds."""
    return sum(sum(each.cpu_times()[:2]) for each in _family(process))


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    main()
