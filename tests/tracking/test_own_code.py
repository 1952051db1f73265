"""A model's own sources, in a process that has imported others before."""

import sys
from pathlib import Path

import pytest

import hemacell
from hemacell.tracking import registry
from hemacell.tracking.registry import registration
from hemacell.tracking.runs.lifecycle import track
from hemacell.tracking.serving.own_code import leave_unused_code


@pytest.fixture
def model(tmp_path):
    """Make the folder of a downloaded model with the running package's code, and return its artifact."""

    def make(version: int) -> Path:
        root = tmp_path / f"download{version}"
        (root / "artifacts" / "classifier").mkdir(parents=True)
        registration.copy_package(root / "code" / "hemacell")
        (root / "MLmodel").write_text("model_id: m-1\n")
        (root / "registered_model_meta").write_text(f"model_name: hemacell-wbc\nmodel_version: '{version}'\n")
        return root / "artifacts" / "classifier"

    return make


def test_the_same_code_is_no_reason_to_warn(model, capsys, caplog):
    leave_unused_code(model(1))
    leave_unused_code(Path("/no/model/here"))
    assert not caplog.records and capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["changed", "missing from the running one"])
def test_other_code_is_named_with_both_versions(model, monkeypatch, tmp_path, change):
    lines: list[str] = []
    monkeypatch.setattr("hemacell.tracking.serving.own_code.logger.warning", lines.append)
    first, second = model(1), model(2)
    own = second.parents[1] / "code" / "hemacell"
    if change == "changed":
        (own / "core" / "errors.py").write_text("x = 1\n")
    else:
        (own / "core" / "new.py").touch()
    monkeypatch.setattr(hemacell, "__file__", str(first.parents[1] / "code" / "hemacell" / "__init__.py"))
    leave_unused_code(first)
    assert lines == []
    leave_unused_code(second)
    (line,) = lines
    assert line.startswith("models:/hemacell-wbc/2 runs with the code of models:/hemacell-wbc/1, which this process")


def test_a_process_started_later_finds_the_running_package_first(model, monkeypatch):
    artifact = model(1)
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", [str(artifact.parents[1] / "code"), *before])
    leave_unused_code(artifact)
    assert sys.path == before


def test_what_is_copied_with_a_model(tmp_path):
    copied = {path.name for path in registration.copy_package(tmp_path / "hemacell").iterdir()}
    assert {"classifiers", "encoders", "tracking", "core", "data"} <= copied
    assert not {"jobs", "reporting", "execution", "cli.py"} & copied


@pytest.mark.slow
def test_two_versions_in_a_fresh_process(store, stand_ins, classifier, job, tmp_path, monkeypatch):
    def register():
        with track("wbc", {}) as run:
            return registry.register(
                classifier,
                "hemacell-wbc",
                run=run,
                model="classifier",
                kind="folder",
                val_score=0.5,
                val_images={},
                cache=tmp_path / "cache",
            )

    first = register()
    copy = registration.copy_package

    def with_change(target: Path) -> Path:
        package = copy(target)
        (package / "core" / "errors.py").write_text((package / "core" / "errors.py").read_text() + "\nNEW = True\n")
        return package

    monkeypatch.setattr(registration, "copy_package", with_change)
    second = register()
    # a copy of the installed packages without ours: the models bring their own
    script = f"""
import sys
sys.path = [path for path in sys.path if path != {str(Path(hemacell.__file__).parents[1])!r}]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
import mlflow
for uri in {[first.uri, second.uri]!r}:
    print(uri, file=sys.stderr)
    mlflow.pyfunc.load_model(uri)
"""
    done = job(script, store, sources=tmp_path)
    _, err = done.communicate(timeout=300)
    assert done.returncode == 0, err
    before, _, after = err.partition(f"\n{second.uri}\n")
    assert "runs with the code of" not in before
    assert f"{second.uri} runs with the code of {first.uri}" in after
