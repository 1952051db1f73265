"""The hand-off: what one job registers, another finds, fetches and can use, on SQLite and over HTTP."""

import json
import math
import re
from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.tracking import registry
from hemacell.tracking.registry.registration import REQUIREMENTS
from hemacell.tracking.runs.lifecycle import track
from hemacell.tracking.schema import DECISION

CARD = "# Two kinds of cell\n\nMade up for a test."


def register(
    folder,
    tmp_path,
    *,
    name="hemacell-wbc",
    model="classifier",
    kind="folder",
    score=0.9,
    right=40,
    of=50,
    first=0,
    card=CARD,
    **more,
):
    with track("wbc", {"fraction": 0.5}) as run:
        return registry.register(
            folder,
            name,
            run=run,
            model=model,
            kind=kind,
            val_score=score,
            val_images={f"image {number}": float(number - first < right) for number in range(first, first + of)},
            cache=tmp_path / "cache",
            card=card,
            **more,
        )


def files_of(version, tmp_path):
    registry.fetch(version, tmp_path / "look")
    root = tmp_path / "look" / "models" / version.model_id
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}


@pytest.fixture(params=["sqlite", pytest.param("http", marks=pytest.mark.slow)])
def any_store(request):
    return request.getfixturevalue("store" if request.param == "sqlite" else "over_http")


def test_what_is_registered_is_found_and_fetched_whole(any_store, stand_ins, classifier, tmp_path):
    version = register(classifier, tmp_path, name="hemacell-whole", tags={"fraction": 0.5})
    assert (version.version, version.aliases, version.data_kind) == ("1", ("champion",), "folder")
    assert version.tags["fraction"] == "0.5" and version.tags["val.score"] == "0.9"
    assert registry.find("hemacell-whole", "folder") == version
    assert registry.find("hemacell-whole", "sample") is None
    assert registry.find("hemacell-none", "folder") is None
    assert registry.card_of(version) == CARD
    folder = registry.fetch("models:/hemacell-whole@champion", tmp_path / "cache")
    assert json.loads((folder / "settings.json").read_text()) == json.loads((classifier / "settings.json").read_text())

    files = files_of(version, tmp_path)
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pth", ".pt", ".ckpt", ".pyc"))]
    assert files["README.md"].read_text() == CARD
    assert {"MLmodel", "input_example.json", "served_classifier.py", "code/hemacell/core/errors.py"} <= files.keys()
    pinned = dict(line.split("==") for line in files["requirements.txt"].read_text().split())
    assert set(pinned) == set(REQUIREMENTS) and not any("+" in number for number in pinned.values())
    # MLmodel names a pickled object under `python_model`, and the file to run under `model_code_path`.
    assert "python_model:" not in files["MLmodel"].read_text() and "model_code_path:" in files["MLmodel"].read_text()


def test_a_model_is_downloaded_once(store, stand_ins, classifier, tmp_path, monkeypatch):
    import mlflow

    version = register(classifier, tmp_path)
    first = registry.fetch(version, tmp_path / "cache")
    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda **_: pytest.fail("downloaded again"))
    assert registry.fetch(version, tmp_path / "cache") == first
    assert [path.name for path in (tmp_path / "cache" / "models").iterdir()] == [version.model_id]


def test_a_download_that_breaks_off_leaves_nothing(store, stand_ins, classifier, tmp_path, monkeypatch):
    import mlflow

    version = register(classifier, tmp_path)
    whole = mlflow.artifacts.download_artifacts

    def break_off(artifact_uri, dst_path):
        whole(artifact_uri=artifact_uri, dst_path=dst_path)
        raise OSError("the line is dead")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="dead"):
        broken.setattr(mlflow.artifacts, "download_artifacts", break_off)
        registry.fetch(version, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "models").iterdir())
    assert (registry.fetch(version, tmp_path / "cache") / "settings.json").is_file()


def test_the_champion_changes_only_for_one_that_is_better_beyond_chance(store, stand_ins, classifier, tmp_path, capsys):
    assert register(classifier, tmp_path, right=46).aliases == ("champion",)
    by_chance = register(classifier, tmp_path, right=50, score=1.0)  # four images more: p = 1/16
    assert by_chance.aliases == ()
    assert by_chance.tags[DECISION] == (
        "not better than models:/hemacell-wbc/1 beyond chance: higher on 4 and lower on 0 of 50 shared validation "
        "images (one-sided exact sign test, p = 0.062; better where p < 0.05)"
    )
    assert f"registered models:/hemacell-wbc/2: {by_chance.tags[DECISION]}\n" in capsys.readouterr().err
    assert register(classifier, tmp_path, right=30).aliases == ()
    better = register(classifier, tmp_path, of=100, right=100)  # 4 of the 50 that are shared
    assert better.aliases == ()
    register(classifier, tmp_path, name="other", right=45)
    better = register(classifier, tmp_path, name="other", right=50)
    assert better.aliases == ("champion",) and "better than models:/other/1: higher on 5" in better.tags[DECISION]
    assert registry.find("other", "folder") == better


def test_a_champion_of_other_images_is_scored_on_these(store, stand_ins, classifier, tmp_path):
    register(classifier, tmp_path, right=40)
    scored = []

    def rescore(folder):
        scored.append((folder / "settings.json").is_file())
        return {f"image {number}": float(number < 120) for number in range(100, 150)}

    others = {"first": 100, "right": 40}
    nothing_shared = register(classifier, tmp_path, **others)
    assert nothing_shared.aliases == () and "no image is shared" in nothing_shared.tags[DECISION]
    assert register(classifier, tmp_path, **others | {"right": 22}, rescore=rescore).aliases == ()
    better = register(classifier, tmp_path, **others, rescore=rescore)
    assert better.aliases == ("champion",) and "higher on 20 and lower on 0 of 50" in better.tags[DECISION]
    assert scored == [True, True]
    assert (
        register(classifier, tmp_path, **others, rescore=lambda _: pytest.fail("its scores are stored")).aliases == ()
    )


def test_a_champion_that_cannot_be_read_does_not_cost_the_new_model(store, stand_ins, classifier, tmp_path):
    register(classifier, tmp_path)

    def rescore(folder):
        raise UserError("expected a classifier, found something else")

    version = register(classifier, tmp_path, first=100, rescore=rescore)
    assert version.version == "2" and version.aliases == ()
    assert "could not be scored on the same images: expected a classifier" in version.tags[DECISION]


def test_each_list_of_classes_has_a_champion_of_its_own(store, stand_ins, classifier, tmp_path):
    five, three = ("A", "B", "C", "D", "E"), ("Neutrophil", "Other", "Smudge, big")
    first = register(classifier, tmp_path, classes=five)
    assert first.aliases == ("champion",) and first.tags["classes"] == "A,B,C,D,E"
    others = register(classifier, tmp_path, classes=three, right=10, rescore=lambda _: pytest.fail("other classes"))
    (alias,) = others.aliases
    assert re.fullmatch("champion-3-classes-[0-9a-f]{6}", alias)
    assert others.tags[DECISION] == "the first version with these classes: Neutrophil, Other, Smudge, big"
    assert register(classifier, tmp_path, classes=three, right=20).aliases == (alias,)
    assert register(classifier, tmp_path, classes=five, right=49).aliases == ("champion",)
    (in_another_order,) = register(classifier, tmp_path, classes=three[::-1]).aliases
    assert in_another_order != alias


def test_of_a_long_card_the_description_has_the_beginning(store, stand_ins, classifier, tmp_path):
    import mlflow

    card = "# A card\n\n" + "word " * 1200
    version = register(classifier, tmp_path, card=card)
    shown = registry.card_of(version)
    assert len(shown) == 5000 and shown.startswith("# A card") and shown.endswith("README.md of the model.")
    whole = mlflow.artifacts.download_artifacts(f"{version.uri}/README.md")
    assert Path(whole).read_text() == card


def test_a_quick_try_never_makes_a_champion(store, stand_ins, classifier, tmp_path):
    assert register(classifier, tmp_path, right=50, trial=True).aliases == ()
    assert register(classifier, tmp_path, right=20).aliases == ("champion",)
    assert register(classifier, tmp_path, right=50, trial=True).aliases == ()


def test_the_sample_never_makes_a_champion(store, stand_ins, classifier, tmp_path):
    first = register(classifier, tmp_path, kind="sample", score=0.9)
    second = register(classifier, tmp_path, kind="sample", score=0.1)
    assert second.aliases == ("sample",) and registry.resolve(first.uri).aliases == ()
    assert registry.find("hemacell-wbc", "folder") is None
    with pytest.raises(UserError, match="built-in sample"):
        registry.resolve("models:/hemacell-wbc@sample", "folder")
    assert registry.resolve("models:/hemacell-wbc@sample", "sample") == second
    assert registry.resolve("hemacell-wbc", "sample") == second


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("hemacell-wcb", "no model 'hemacell-wcb' .* registered are: hemacell-wbc"),
        ("models:/hemacell-wcb@champion", "registered are: hemacell-wbc"),
        ("hemacell-wbc@champion", "did you mean models:/hemacell-wbc@champion"),
        ("hemacell-wbc/1", "did you mean models:/hemacell-wbc/1"),
        ("model:/hemacell-wbc/1", "did you mean models:/hemacell-wbc/1"),
        ("models:/hemacell-wbc/7", "no version '7': type one of models:/hemacell-wbc@champion, models:/hemacell-wbc/1"),
        ("models:/hemacell-wbc/Production", "no version 'Production'"),
        ("models:/hemacell-wbc@best", "no alias 'best': type one of models:/hemacell-wbc@champion"),
        ("models:/hemacell-wbc", "names no version: type models:/hemacell-wbc@champion"),
        ("models:/m-00000000000000000000000000000000", "no model with the id"),
        ("runs:/abc/model", "not the address of a registered model"),
        ("", "not the address of a registered model|no model ''"),
    ],
)
def test_a_mistyped_address_gets_one_helpful_line(any_store, stand_ins, classifier, tmp_path, typed, line):
    if registry.find("hemacell-wbc", "folder") is None:
        register(classifier, tmp_path)
    with pytest.raises(UserError, match=line) as caught:
        registry.resolve(typed)
    assert "\n" not in str(caught.value)


def test_an_empty_registry_says_so(store):
    with pytest.raises(UserError, match="nothing is registered yet"):
        registry.resolve("models:/hemacell-wbc@champion")


def test_good_addresses(store, stand_ins, classifier, tmp_path):
    version = register(classifier, tmp_path)
    for typed in (
        "hemacell-wbc",
        "models:/hemacell-wbc@champion",
        "models:/hemacell-wbc/1",
        "models:/hemacell-wbc/latest",
    ):
        assert registry.resolve(typed, "folder") == version
    assert re.fullmatch("m-[0-9a-f]{32}", version.model_id)
    by_id = registry.resolve(f"models:/{version.model_id}", "folder")
    assert (by_id.model_id, by_id.run_id, by_id.data_kind) == (version.model_id, version.run_id, "folder")
    assert registry.fetch(by_id, tmp_path / "cache") == registry.fetch(version, tmp_path / "cache")


def test_anybodys_other_model_is_refused(store, tmp_path):
    import mlflow

    (tmp_path / "m.py").write_text(
        "import mlflow\n\nclass M(mlflow.pyfunc.PythonModel):\n    def predict(self, model_input: list[str]):\n"
        "        return model_input\n\nmlflow.models.set_model(M())\n"
    )
    with track("other", {}):
        mlflow.pyfunc.log_model(
            name="m", python_model=str(tmp_path / "m.py"), registered_model_name="anybodys", pip_requirements=["mlflow"]
        )
    with pytest.raises(UserError, match="models:/anybodys/1 was not registered by hemacell"):
        registry.fetch("models:/anybodys/1", tmp_path / "cache")


def test_what_must_not_be_registered(store, stand_ins, classifier, tmp_path):
    with pytest.raises(ValueError, match="nan"):
        register(classifier, tmp_path, score=math.nan)
    (classifier / "weights.pth").touch()
    with pytest.raises(ValueError, match=r"weights\.pth"):
        register(classifier, tmp_path)
    assert registry.find("hemacell-wbc", "folder") is None


def test_registered_encoders_are_inputs_of_a_run(any_store, stand_ins, encoder, tmp_path):
    version = register(encoder, tmp_path, name="hemacell-prcc-encoder", model="encoder")
    with track("wbc", {}) as run:
        run.model_inputs(["models:/hemacell-prcc-encoder@champion"])
    logged = run.client.get_run(run.run_id)
    assert [model.model_id for model in logged.inputs.model_inputs] == [version.model_id]
    assert logged.data.tags["encoder.prcc"] == version.uri
