"""What a served model refuses: more than it may be asked for at once."""

import base64
import io
import struct
import zlib

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from hemacell.data.images import MAX_PIXELS
from hemacell.prediction.in_memory import CHUNK, CHUNK_PIXELS, chunks
from hemacell.tracking import registry
from hemacell.tracking.runs.lifecycle import track
from hemacell.tracking.serving.limits import LIMITS, Limits, check_request, limits_of
from hemacell.tracking.serving.payload import decode


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (250, 90, 90)).save(file, "PNG")
    return file.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG file whose header claims so many pixels, and that has none."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


def test_limits_have_defaults_and_each_may_be_another():
    assert limits_of(None) == limits_of({}) == limits_of({LIMITS: {}}) == Limits()
    given = limits_of({LIMITS: {"rows": 3}})
    assert given.rows == 3 and given.image_pixels == Limits().image_pixels
    assert Limits().image_pixels < MAX_PIXELS


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"row": 3}, r"limits\.row: found 3, extra inputs .* expected limits with some of rows, request_bytes"),
        ({"rows": 0}, r"limits\.rows: found 0, input should be greater"),
        ({"rows": "many"}, r"limits\.rows: found 'many', input should be a valid integer"),
        ({"image_pixels": MAX_PIXELS + 1}, r"limits\.image_pixels: found .* less than or equal to"),
        (5, "limits: found 5"),
    ],
)
def test_what_is_no_limit_is_refused_in_one_line(given, line):
    with pytest.raises(MlflowException, match=line) as caught:
        limits_of({LIMITS: given})
    assert caught.value.get_http_status_code() == 400 and "\n" not in caught.value.message


def test_a_request_is_as_large_as_its_images():
    limits = Limits(rows=3, request_bytes=10)
    check_request(["12345", b"12345", None], limits)
    with pytest.raises(MlflowException, match="may hold 3 images, this one holds 4") as many:
        check_request(["1"] * 4, limits)
    with pytest.raises(MlflowException, match="may hold 10 bytes of images, this one holds 11") as large:
        check_request(["12345", b"123456"], limits)
    assert [error.value.get_http_status_code() for error in (many, large)] == [400, 400]


def test_a_row_is_refused_by_its_bytes_and_by_its_header_alone():
    file = png(20, 10)
    assert decode(file, len(file), 200).size == (20, 10)
    assert decode(file, len(file) - 1, 200) == f"has more than {len(file) - 1} bytes"
    assert decode(base64.b64encode(file).decode(), len(file) - 1) == f"has more than {len(file) - 1} bytes"
    assert decode(file, None, 199) == "has more than 199 pixels"
    # these have nothing to decode: the reason tells that nobody tried
    assert decode(claiming(5000, 5000), None, 2**24) == "has more than 16777216 pixels"
    assert "pixels" not in decode(claiming(4096, 4096), None, 2**24)


def test_large_pictures_are_held_one_or_two_at_a_time():
    class Picture:
        def __init__(self, side: int) -> None:
            self.width = self.height = side

    small, large = Picture(300), Picture(4000)
    assert [len(chunk) for chunk in chunks([small] * (CHUNK + 1))] == [CHUNK, 1]
    assert CHUNK_PIXELS > 4000**2
    assert [len(chunk) for chunk in chunks([large, "no picture", large, small, large, large])] == [3, 3]
    assert list(chunks([])) == []


@pytest.fixture
def register(store, stand_ins, classifier, encoder, tmp_path):
    def one(model):
        folder = classifier if model == "classifier" else encoder
        with track("wbc", {}) as run:
            registry.register(
                folder, "m", run=run, model=model, kind="folder", val_score=0.5, val_images={}, cache=tmp_path / "c"
            )
        # they are settings of the model, not of the run that trained it
        assert run.client.get_run(run.run_id).data.params == {}
        return "models:/m/1"

    return one


@pytest.mark.parametrize("model", ["classifier", "encoder"])
def test_a_few_images_are_computed_by_one_thread_and_the_number_is_set_again(register, model, monkeypatch):
    import mlflow
    import torch

    from hemacell.core.threads import FEW_IMAGES

    loaded = mlflow.pyfunc.load_model(register(model))
    own, seen = loaded.unwrap_python_model(), []
    usual = own.threads = torch.get_num_threads() + 1  # two or more, on any machine
    before = torch.get_num_threads()
    network, name = (own.predictor, "predict") if model == "classifier" else (own, "_embed")
    compute = getattr(network, name)
    monkeypatch.setattr(network, name, lambda images: (seen.append(torch.get_num_threads()), compute(images))[1])
    try:
        for count in (1, FEW_IMAGES, FEW_IMAGES + 1):
            loaded.predict(pd.DataFrame({"image": [png(20, 10)] * count}))
            assert torch.get_num_threads() == usual
        with monkeypatch.context() as broken:
            broken.setattr(network, name, lambda images: pytest.fail("broken"))
            with pytest.raises(pytest.fail.Exception):
                loaded.predict(pd.DataFrame({"image": [png(20, 10)]}))
        assert torch.get_num_threads() == usual
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1, usual]


@pytest.mark.parametrize("model", ["classifier", "encoder"])
def test_who_loads_a_model_sets_its_limits(register, model, monkeypatch, caplog):
    import mlflow

    uri = register(model)
    usual = mlflow.pyfunc.load_model(uri)
    table = pd.DataFrame({"image": [png(20, 10), png(30, 30), claiming(5000, 5000)]})
    assert list(usual.predict(table)["why"] == "")[:2] == [True, True]
    assert usual.predict(table)["why"][2] == "has more than 16777216 pixels"
    with pytest.raises(MlflowException, match="may hold 1000 images, this one holds 1001"):
        usual.predict(pd.DataFrame({"image": ["x"] * 1001}))

    strict = mlflow.pyfunc.load_model(uri, model_config={LIMITS: {"rows": 3, "image_pixels": 200}})
    assert list(strict.predict(table)["why"]) == ["", *["has more than 200 pixels"] * 2]
    with pytest.raises(MlflowException, match="may hold 3 images"):
        strict.predict(pd.concat([table, table]))
    with pytest.raises(MlflowException, match=r"limits\.row: found 3"):
        mlflow.pyfunc.load_model(uri, model_config={LIMITS: {"row": 3}})
    # MLflow itself drops what is beside them, and says so
    mlflow.pyfunc.load_model(uri, model_config={"rows": 3})
    assert "rows were ignored" in caplog.text and "includes limits" in caplog.text

    monkeypatch.setenv("MLFLOW_PYFUNC_INFERENCE_CONFIG", '{"limits": {"rows": 2}}')
    with pytest.raises(MlflowException, match="may hold 2 images"):
        mlflow.pyfunc.load_model(uri).predict(table)
