"""A registered classifier as others run it: in an environment with its own requirements only, served, and in Spark."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from .conftest import CLASSES, plain_environment

pytestmark = pytest.mark.slow

NUMBERS = ["probability", *(f"p_{name}" for name in CLASSES)]
WORDS = ["class", "needs_review", "why"]
REQUEST_BYTES = 2_000_000  # of the server here, so that too large a request is still a small one


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Both tables hold the same answers, to 1e-5."""
    assert list(found.columns) == list(expected.columns)
    assert found[WORDS].to_dict("list") == expected[WORDS].to_dict("list")
    numbers = found[NUMBERS].astype("float64"), expected[NUMBERS]
    np.testing.assert_allclose(*numbers, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def made(new_store, sample: Path, tmp_path_factory) -> SimpleNamespace:
    """A tiny classifier with frozen encoders (one of timm's), where its model lies, five images and its answers."""
    import mlflow

    import hemacell

    store = new_store("serving")
    store.run("wbc", encoders=("random-prcc", "imagenet"))
    folder = tmp_path_factory.mktemp("cells")
    for name in CLASSES:
        shutil.copy(sorted((sample / "WBC_100" / "test" / "data" / name).iterdir())[0], folder / f"{name}.png")
    paths = sorted(folder.iterdir())
    with store.here():
        uri = "models:/hemacell-wbc@sample"
        model = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path_factory.mktemp("model"))))
        loaded = hemacell.load(uri)
        answers = pd.concat([loaded.predict(path) for path in paths], ignore_index=True)  # as a server does, each alone
    assert {path.name for path in model.glob("artifacts/**/encoders/*")} == {"random-prcc", "imagenet"}
    texts = [base64.b64encode(path.read_bytes()).decode() for path in paths]
    return SimpleNamespace(store=store, model=model, folder=folder, paths=paths, texts=texts, answers=answers)


@pytest.fixture(scope="module")
def fresh(made, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """An environment with what the model says that it needs, and nothing else: (python, variables, a folder)."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--quiet", "--no-compile"]
    subprocess.run([*install, "-r", made.model / "requirements.txt"], check=True, timeout=1800)
    environment = plain_environment()
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    environment |= {"PATH": f"{python.parent}{os.pathsep}{environment['PATH']}", "OMP_NUM_THREADS": "1"}
    (folder / "empty").mkdir()
    yield SimpleNamespace(python=python, environment=environment, folder=folder / "empty")
    # 1.5 GB in very many files: on some disks that takes minutes, which nobody needs to wait for
    subprocess.Popen(["rm", "-rf", folder / "venv"], start_new_session=True)


@pytest.fixture(scope="module")
def server(made, fresh) -> Iterator[str]:
    """The model, served from that environment: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [fresh.python, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", made.model, "-h", "127.0.0.1", "-p", str(port)]
    limits = {"MLFLOW_PYFUNC_INFERENCE_CONFIG": json.dumps({"limits": {"request_bytes": REQUEST_BYTES}})}
    log = fresh.folder.parent / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=fresh.folder,
            env=fresh.environment | limits,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/ping", timeout=5)
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(url: str, body: object, kind: str = "application/json") -> tuple[int, dict]:
    """Status and answer of one request."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(f"{url}/invocations", data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def rows(*images: object) -> dict[str, object]:
    return {"dataframe_split": {"columns": ["image"], "data": [[image] for image in images]}}


def table_of(answer: dict) -> pd.DataFrame:
    return pd.DataFrame(answer["predictions"])


def claiming(width: int, height: int) -> str:
    """A PNG file of a few bytes whose header claims so many pixels, as base64."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")
    return base64.b64encode(file).decode()


def test_the_models_own_requirements_are_enough_to_load_it(made, fresh):
    script = """
import importlib.util, sys
assert importlib.util.find_spec("hemacell") is None, "the model must bring its own sources"
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
table = pd.DataFrame({"image": [open(path, "rb").read() for path in sys.argv[2:]]})
model.predict(table).to_json("answers.json", orient="records", double_precision=15)
"""
    command = [fresh.python, "-I", "-c", script, made.model, *made.paths]
    done = subprocess.run(command, cwd=fresh.folder, env=fresh.environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    same(pd.DataFrame(json.loads((fresh.folder / "answers.json").read_text())), made.answers)


def test_a_server_gives_the_same_answers_to_json_and_to_csv(made, server):
    status, answer = ask(server, rows(*made.texts))
    assert status == 200
    same(table_of(answer), made.answers)
    status, answer = ask(server, pd.DataFrame({"image": made.texts}).to_csv(index=False), "text/csv")
    assert status == 200
    same(table_of(answer), made.answers)


def test_the_example_in_the_model_works_as_it_is(made, server):
    status, answer = ask(server, (made.model / "serving_input_example.json").read_bytes())
    assert status == 200 and [row["class"] in CLASSES for row in answer["predictions"]] == [True]


def test_fifty_requests_in_flight_are_answered_each_with_its_own(made, server):
    gate = threading.Barrier(50)

    def one(number: int) -> tuple[int, dict]:
        gate.wait()
        return ask(server, rows(made.texts[number % len(made.texts)]))

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    assert [status for status, _ in answers] == [200] * 50
    expected = pd.concat([made.answers] * 10, ignore_index=True)
    same(pd.concat([table_of(answer) for _, answer in answers], ignore_index=True), expected)


def test_rows_that_are_no_image_are_excused_and_nothing_is_read_from_the_servers_disk(made, server):
    huge = io.BytesIO()
    Image.new("1", (4200, 4200)).save(huge, "PNG")  # under 3 kB
    bad = {
        claiming(60_000, 60_000): "has more than 16777216 pixels",
        claiming(5_000, 5_000): "has more than 16777216 pixels",
        base64.b64encode(huge.getvalue()).decode(): "has more than 16777216 pixels",
        base64.b64encode(b"no image").decode(): "is not an image, or of an unknown kind",
        "": "has zero size",
        str(made.paths[0]): "neither the bytes of an image file nor base64 text of them",
        f"file://{made.paths[0]}": "neither the bytes of an image file nor base64 text of them",
    }
    status, answer = ask(server, rows(*bad, None, 7, made.texts[0]))
    assert status == 200
    table = table_of(answer)
    assert list(table["why"][: len(bad)]) == list(bad.values())
    assert (table["class"][:-1] == "").all() and table["needs_review"][:-1].all() and (table["why"][:-1] != "").all()
    assert table["probability"][:-1].isna().all()
    same(table[-1:].reset_index(drop=True), made.answers[:1])


@pytest.mark.parametrize(
    ("body", "kind", "line"),
    [
        (rows(*["x"] * 1001), "application/json", "a request may hold 1000 images, this one holds 1001"),
        (rows("x" * (REQUEST_BYTES + 1)), "application/json", "a request may hold 2000000 bytes of images, this one"),
        ("image\n" + "x\n" * 1001, "text/csv", "a request may hold 1000 images, this one holds 1001"),
        ({"dataframe_records": [{"picture": "x"}]}, "application/json", r"missing inputs \['image'\]"),
        ("picture\nx\n", "text/csv", r"missing inputs \['image'\]"),
        ("cell.jpg", "application/json", "valid JSON formatted string"),
        ([1], "application/json", "must be a JSON dictionary"),
        ({"image": "x"}, "application/json", "must be a JSON dictionary with exactly one of the input fields"),
        ("", "text/csv", "No columns to parse"),
        (b"\xff\xfe", "text/csv", "valid UTF-8"),
    ],
)
def test_a_wrong_request_is_refused_as_a_whole_with_a_clear_line(server, body, kind, line):
    status, answer = ask(server, body, kind)
    assert status == 400
    assert re.search(line, answer["message"])


SPARK = """
import json, sys
import mlflow
from pyspark.sql import SparkSession

model, folder, output = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .getOrCreate()
)
udf = mlflow.pyfunc.spark_udf(spark, model, env_manager="local", model_config={"limits": {"rows": 3}})
files = spark.read.format("binaryFile").load(folder).coalesce(1)
def answers():
    return files.select("path", udf("content").alias("answer")).select("path", "answer.*").orderBy("path").collect()
try:
    answers()
    refusal = ""
except Exception as error:
    refusal = str(error)
spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 3)
rows = [row.asDict() for row in answers()]
json.dump({"refusal": refusal, "rows": rows}, open(output, "w"))
spark.stop()
"""


def test_spark_gives_the_same_answers_in_batches_within_the_limits(made, tmp_path):
    pytest.importorskip("pyspark", reason='Spark is an extra: pip install -e ".[spark]"')
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer on the PATH")
    folder = tmp_path / "cells"
    shutil.copytree(made.folder, folder)
    (folder / "text.png").write_text("no image")
    environment = made.store.environment | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "-c", SPARK, "models:/hemacell-wbc@sample", str(folder), str(tmp_path / "answers.json")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads((tmp_path / "answers.json").read_text())
    assert "a request may hold 3 images, this one holds 6" in found["refusal"]
    table = pd.DataFrame(found["rows"])
    assert [Path(path).name for path in table.pop("path")] == [*(path.name for path in made.paths), "text.png"]
    same(table[:-1], made.answers)
    assert table["why"].iloc[-1] == "is not an image, or of an unknown kind" and table["class"].iloc[-1] == ""
