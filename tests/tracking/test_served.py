"""Registered models as others use them: through MLflow, through its scoring server, and through `load`."""

import base64
import importlib.metadata
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import hemacell
from hemacell.classifiers.description import Prediction
from hemacell.core.errors import UserError
from hemacell.prediction.in_memory import CHUNK, predict_table
from hemacell.tracking import registry
from hemacell.tracking.registry.registration import REQUIREMENTS
from hemacell.tracking.runs.lifecycle import track
from hemacell.tracking.serving import client
from hemacell.tracking.serving.payload import decode

CLASSES = ["Eosinophil", "Lymphocyte"]
COLUMNS = ["class", "probability", "p_Eosinophil", "p_Lymphocyte", "needs_review", "why", "none_of_these"]


def picture(red: int, size=(40, 30)) -> Image.Image:
    return Image.new("RGB", size, (red, 90, 90))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def text(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


@pytest.fixture
def register(stand_ins, classifier, encoder, tmp_path):
    def one(model="classifier", kind="folder"):
        folder = classifier if model == "classifier" else encoder
        name = "hemacell-wbc" if model == "classifier" else "hemacell-prcc-encoder"
        with track("wbc", {}) as run:
            return registry.register(
                folder, name, run=run, model=model, kind=kind, val_score=0.5, val_images={}, cache=tmp_path / "cache"
            )

    return one


def test_a_served_classifier_answers_in_order_and_excuses_bad_rows(store, register):
    import mlflow

    register()
    model = mlflow.pyfunc.load_model("models:/hemacell-wbc@champion")
    rows = [png(picture(250)), text(picture(0)), png(picture(130)), png(picture(250))[:60], "cells/a.png", b"", None]
    table = model.predict(pd.DataFrame({"image": rows}))
    assert list(table.columns) == COLUMNS
    assert list(table["class"]) == ["Eosinophil", "Lymphocyte", "Eosinophil", "", "", "", ""]
    assert list(table["needs_review"]) == [False, False, True, True, True, True, True]
    assert list(table["why"][:3]) == ["", "", "probability 0.52 is below 0.90"]
    assert table["probability"][:3].tolist() == pytest.approx([0.9789, 0.9820, 0.5196], abs=1e-3)
    assert table[["p_Eosinophil", "p_Lymphocyte"]][:3].sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert table["probability"][3:].isna().all() and (table["why"][3:] != "").all()
    assert [str(column.type) for column in model.metadata.signature.outputs] == [
        "DataType.string",
        "DataType.double",
        "DataType.double",
        "DataType.double",
        "DataType.boolean",
        "DataType.string",
        "DataType.double",
    ]


def test_a_served_model_never_opens_a_file_by_name(tmp_path, monkeypatch):
    (tmp_path / "abcd").write_bytes(png(picture(250)))  # a name that is base64, too
    monkeypatch.chdir(tmp_path)
    for name in ("abcd", str(tmp_path / "abcd"), f"file://{tmp_path}/abcd"):
        assert isinstance(decode(name), str)
    assert isinstance(decode(tmp_path / "abcd"), str)


def test_base64_may_be_wrapped_in_lines():
    wrapped = base64.encodebytes(png(picture(250))).decode()
    assert "\n" in wrapped and decode(wrapped).size == (40, 30)


@pytest.mark.parametrize("red", range(250, 253))  # one file of each length modulo 3, so every number of `=`
def test_base64_is_read_as_browsers_write_it(red):
    data = png(picture(red)) + b"\xfb\xff" + bytes(red - 250)  # what follows a PNG is ignored
    usual, url_safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    assert "+" in usual or "/" in usual
    for written in (
        usual,
        url_safe,
        url_safe.rstrip("="),
        f"data:image/png;base64,{usual}",
        f"DATA:;base64,{url_safe}",
    ):
        assert decode(written).getpixel((0, 0)) == (red, 90, 90)
    for other in ("data:image/svg+xml,<svg/>", "data:", "data:image/png;base64,", "A"):
        assert isinstance(decode(other), str)


class Brightness:
    """Predicts the mean of each picture, 0 to 1."""

    classes, confidence_threshold = ("bright", "dark"), 0.0

    def of_images(self, images):
        return self

    def predict(self, images):
        shares = [np.asarray(image).mean() / 255 for image in images]
        return [Prediction(np.array([share, 1 - share], np.float32), 0.0) for share in shares]


def test_files_of_16_bits_that_are_given_together_are_shown_in_one_depth(tmp_path):
    files = [tmp_path / "dark.png", tmp_path / "usual.png"]
    for file, white in zip(files, (200, 4000), strict=True):  # of 12 bits; alone, the first is taken for 8 bits
        Image.fromarray(np.full((9, 9), white, np.uint16)).save(file)
    classifier = client.Classifier(Brightness(), "models:/brightness/1")

    def of(images):
        return classifier.predict(images)["p_bright"].round(2).tolist()

    assert of(files) == of(map(str, files)) == of(pd.Series(map(str, files))) == of(iter(files)) == [0.05, 0.98]
    assert of(files[0]) == of(files[:1]) == [0.78]
    assert of([picture(90), *files]) == [0.35, 0.78, 0.98]  # each alone, as pictures are taken one by one
    assert of([]) == [] and len(of([*files, tmp_path, tmp_path / "gone.png"])) == 4


def test_a_picture_that_pillow_emptied_is_no_black_cell(tmp_path):
    for depth, words in ((12, "give the path of its file"), (16, "")):
        tifffile.imwrite(tmp_path / "cell.tif", np.full((9, 9, 3), 2**depth - 1, np.uint16), photometric="rgb")
        read = client._picture(Image.open(tmp_path / "cell.tif"))
        assert words in read if words else read.getpixel((0, 0)) == (255, 255, 255)
        assert client._picture(tmp_path / "cell.tif").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("content_type", ["application/json", "text/csv"])
def test_the_scoring_server_takes_base64_in_json_and_csv(store, register, content_type):
    import mlflow
    from mlflow.pyfunc.scoring_server import invocations

    register()
    model = mlflow.pyfunc.load_model("models:/hemacell-wbc@champion")
    table = pd.DataFrame({"image": [text(picture(250)), "no picture", text(picture(0))]})
    if content_type == "text/csv":
        data = table.to_csv(index=False)
    else:
        data = json.dumps({"dataframe_split": table.to_dict(orient="split")})
    answer = invocations(data, content_type, model, model.metadata.get_input_schema())

    def no_nan(constant):
        pytest.fail(f"{constant} is no JSON")

    rows = json.loads(answer.response, parse_constant=no_nan)["predictions"]
    assert [row["class"] for row in rows] == ["Eosinophil", "", "Lymphocyte"]
    assert rows[1]["probability"] is None and rows[1]["why"]


def test_a_served_encoder_embeds(store, register):
    import mlflow

    register("encoder")
    model = mlflow.pyfunc.load_model("models:/hemacell-prcc-encoder@champion")
    table = model.predict(pd.DataFrame({"image": [png(picture(255)), "nothing", text(picture(51, (300, 200)))]}))
    assert list(table.columns) == ["embedding", "why"] and [len(row) for row in table["embedding"]] == [6, 0, 6]
    assert table["embedding"][0] == pytest.approx([1, 2 * 90 / 255, 3 * 90 / 255, 0, 0, 0], abs=1e-5)
    assert table["embedding"][2][0] == pytest.approx(0.2, abs=1e-5)
    assert list(table["why"] != "") == [False, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["classifier", "encoder"])
def test_a_fresh_process_elsewhere_without_our_sources_uses_the_model(over_http, register, job, tmp_path, model):
    sources = Path(hemacell.__file__).parents[1]
    version = register(model)
    script = f"""
import importlib.util, io, sys
sys.path = [path for path in sys.path if path != {str(sources)!r}]  # where it is installed in place
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
assert importlib.util.find_spec("hemacell") is None, "the model must bring its own sources"
import mlflow, pandas as pd
from PIL import Image
file = io.BytesIO()
Image.new("RGB", (40, 30), (250, 90, 90)).save(file, "PNG")
print(mlflow.pyfunc.load_model({version.uri!r}).predict(pd.DataFrame({{"image": [file.getvalue()]}})).to_json())
"""
    done = job(script, over_http, sources=tmp_path)
    out, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    answer = json.loads(out.splitlines()[-1])
    assert answer["why"] == {"0": ""}
    assert answer["class"] == {"0": "Eosinophil"} if model == "classifier" else len(answer["embedding"]["0"]) == 6


def test_load_reads_files_arrays_and_pictures_alike(store, register, tmp_path, monkeypatch):
    monkeypatch.setenv("HEMACELL_CACHE", str(tmp_path / "cache"))
    version = register()
    picture(250).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    loaded = client.load("models:/hemacell-wbc@champion")
    assert loaded.classes == tuple(CLASSES) and version.uri in repr(loaded)
    images = [tmp_path / "a.png", str(tmp_path / "a.png"), picture(250), np.asarray(picture(250)), tmp_path / "b.png"]
    table = loaded.predict([*images, tmp_path / "none.png"])
    assert list(table["class"]) == ["Eosinophil"] * 4 + ["", ""] and table["probability"][:4].nunique() == 1
    for one in images[:4]:
        assert loaded.predict(one)["class"].tolist() == ["Eosinophil"]
    assert len(loaded.predict(np.zeros((3, 20, 20, 3), np.uint8))) == 3
    assert list(loaded.predict([]).columns) == COLUMNS


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "YCbCr", "LAB"])
def test_a_picture_is_what_its_file_would_be(mode):
    from hemacell.data.images import read_rgb

    image = Image.new("I;16", (8, 8), 40_000) if mode == "I;16" else picture(200, (8, 8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF" if mode in ("CMYK", "I;16", "YCbCr", "LAB") else "PNG")
    np.testing.assert_array_equal(np.asarray(client._picture(image)), np.asarray(read_rgb(file.getvalue())))


@pytest.mark.parametrize(
    ("image", "error", "line"),
    [
        (np.zeros((8, 8, 3)), ValueError, "uint8"),
        (np.zeros((8, 8, 4), np.uint8), ValueError, r"\[8, 8, 4\]"),
        (7, TypeError, "found int"),
    ],
)
def test_what_is_no_image(image, error, line):
    with pytest.raises(error, match=line):
        client._picture(image)


def test_load_takes_classifiers_only(store, register):
    version = register("encoder")
    with pytest.raises(UserError, match="not a classifier"):
        client.load(version.uri)


def test_pictures_are_decoded_a_few_at_a_time():
    alive = []

    class Counter:
        classes, confidence_threshold = ("A", "B"), 0.5

        def of_images(self, images):
            return self

        def predict(self, images):
            alive.append(len(images))
            return [Prediction(np.array([0.25, 0.75], np.float32), 0.0) for _ in images]

    table = predict_table(Counter(), ("unread" if i % 10 == 0 else picture(i) for i in range(2 * CHUNK + 5)))
    assert len(table) == 2 * CHUNK + 5 and max(alive) < CHUNK
    assert (table["class"][::10] == "").all() and (table["class"].drop(table.index[::10]) == "B").all()


@pytest.mark.slow
def test_the_requirements_are_all_that_a_served_model_imports():
    code = """
import sys
from hemacell.tracking.serving import served_classifier
from hemacell.tracking.serving import served_encoder
import hemacell.encoders.autoencoder, hemacell.encoders.timm_backbone, hemacell.classifiers.cell_network
print(" ".join(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    owners = importlib.metadata.packages_distributions()
    modules = done.stdout.split()
    rooms = {name.split(".")[1] for name in modules if name.startswith("hemacell.")}
    assert not rooms & {"training", "jobs", "reporting", "config", "execution", "cli"}
    imported = {owner.lower() for name in modules for owner in owners.get(name.partition(".")[0], [])}
    # What a requirement brings along is there, too.
    allowed, wanted = set(), [name.lower() for name in REQUIREMENTS]
    while wanted:
        name = wanted.pop()
        if name in allowed:
            continue
        allowed.add(name)
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        from packaging.requirements import Requirement

        needed = [Requirement(line) for line in requires]
        wanted += [one.name.lower() for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    from packaging.utils import canonicalize_name

    allowed = {canonicalize_name(name) for name in allowed}
    # what mlflow imports where it is there, and does without where it is not
    optional = {"psutil", "pyspark", "py4j"}
    extra = {canonicalize_name(name) for name in imported} - allowed - optional
    # tqdm imports colorama where it is installed
    assert not extra - {"hemacell", "pip", "setuptools", "colorama"}
