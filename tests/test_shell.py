"""Packaging and set-up: the versions agree, MLproject is up to date, `mlflow run` starts as typed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


EXTRAS = ("dev", "docs", "onnx", "spark")
LOCKS = ["requirements.txt", *(f"requirements-{extra}.txt" for extra in EXTRAS)]


def pins(name):
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_has_one_exact_version(name):
    assert pins(name)
    for version in pins(name).values():
        assert re.fullmatch(r"[0-9]+(\.[0-9]+)+", version)


def test_this_environment_has_the_versions():
    from importlib.metadata import version

    wanted = pins("requirements.txt") | pins("requirements-dev.txt") | pins("requirements-onnx.txt")
    # a build tag, as in 2.13.0+cpu, is not part of the version
    assert {name: version(name).split("+")[0] for name in wanted} == wanted


def test_the_exact_versions_lie_in_the_ranges_of_the_package(pyproject):
    from packaging.requirements import Requirement

    project = pyproject["project"]
    assert set(project["optional-dependencies"]) == set(EXTRAS)
    extras = [project["optional-dependencies"][extra] for extra in EXTRAS]
    for name, ranges in zip(LOCKS, [project["dependencies"], *extras], strict=True):
        found = {requirement.name: requirement for requirement in map(Requirement, ranges)}
        assert set(found) == set(pins(name)), name
        for package, version in pins(name).items():
            assert found[package].specifier.contains(version), package
            assert {mark.operator for mark in found[package].specifier} == {">=", "<"}


def test_the_package_is_hemacell_alone(pyproject):
    from setuptools import find_packages

    found = find_packages(str(ROOT), **pyproject["tool"]["setuptools"]["packages"]["find"])
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "hemacell").rglob("*.py")}
    assert set(found) == {".".join(folder.parts) for folder in folders}


def test_no_module_is_taken_for_a_test():
    for package in ("hemacell", "projects"):
        assert not [*(ROOT / package).rglob("*_test.py"), *(ROOT / package).rglob("test_*.py")]


def test_make_conda_and_mlflow_install_the_same_versions(pyproject):
    *conda, pip = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    assert pip == {"pip": ["-r requirements.txt"]}
    assert set(conda) == {"python=3.11", "pip"}
    assert pyproject["project"]["requires-python"] == ">=3.11"
    assert yaml.safe_load((ROOT / "python_env.yaml").read_text()) == {"dependencies": ["-r requirements.txt"]}
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    command = [make, "-n", "-B", "-C", ROOT, ".venv/dev.stamp", ".venv/docs.stamp"]
    steps = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in LOCKS:
        assert f"--requirement {name}" in steps


def test_mlproject_has_the_jobs_with_the_defaults_of_their_settings():
    from mlflow.projects import load_project
    from mlflow.projects.env_type import PYTHON

    from hemacell.config.base import default_text
    from hemacell.config.jobs import JOBS

    project = load_project(str(ROOT))
    assert (project.name, project.env_type) == ("hemacell", PYTHON)
    assert set(yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]) == set(JOBS)
    for job, settings in JOBS.items():
        entry_point = project.get_entry_point(job)
        declared = {name: parameter.default for name, parameter in entry_point.parameters.items()}
        assert declared == {name: default_text(settings.model_fields[name]) for name in declared}, job
        assert 4 <= len(declared) <= 6
        assert {parameter.type for parameter in entry_point.parameters.values()} == {"string"}
        options = " ".join(f"--{name} {{{name}}}" for name in declared)
        assert entry_point.command == f"python -m projects.{job} {options}"


def test_entering_the_environment_replaces_the_entry_of_earlier_requirements(tmp_path):
    from hemacell.tracking.project_environment import enter

    for name in ("requirements.txt", "python_env.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    root, prefix = tmp_path / "envs", Path(sys.prefix)
    built_by_mlflow = root / "mlflow-0123" / "bin" / "activate"
    built_by_mlflow.parent.mkdir(parents=True)
    built_by_mlflow.touch()

    first = enter(tmp_path, prefix, root)
    assert enter(tmp_path, prefix, root) == first
    assert (first / "bin" / "activate").resolve() == (prefix / "bin" / "activate").resolve()
    with open(tmp_path / "requirements.txt", "a") as requirements:
        requirements.write("one-more==1.0\n")
    second = enter(tmp_path, prefix, root)
    assert set(root.iterdir()) == {second, built_by_mlflow.parents[1]} and first != second


@pytest.mark.slow
@pytest.mark.parametrize("pyenv", [False, True], ids=["without pyenv", "with pyenv"])
def test_mlflow_run_as_typed_uses_the_activated_environment(tmp_path, pyenv):
    """A bare shell after `source .venv/bin/activate`; a pyenv on the PATH must not be asked to build anything."""
    activate = Path(sys.prefix) / "bin" / "activate"
    assert activate.exists(), "these tests run in the environment that `make` makes"
    for name in ("requirements.txt", "python_env.yaml", "conda.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "MLproject").write_text(
        "python_env: python_env.yaml\n"
        "entry_points: {where: {parameters: {data: {type: string, default: ''}}, command: 'python where.py {data}'}}\n"
    )
    (tmp_path / "where.py").write_text("import sys; print('ran in', sys.prefix, 'with', sys.argv[1:])")
    tools = tmp_path / "tools"
    tools.mkdir()
    if pyenv:
        (tools / "pyenv").write_text("#!/bin/sh\necho pyenv was asked: $* >&2; exit 1\n")
        (tools / "pyenv").chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-c", f"source {activate} && mlflow run . -e where -P 'data=a b;c'"],
        cwd=tmp_path,
        env=environment | ({"LANG": lang} if (lang := os.environ.get("LANG")) else {}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"ran in {sys.prefix} with ['a b;c']" in done.stdout


def test_make_says_what_is_missing(tmp_path):
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        [make, "-C", tmp_path, "-f", ROOT / "Makefile", ".venv/bin/python", "PYTHON=python3.11-missing"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "error: expected Python 3.11 as python3.11-missing on the PATH, found none" in done.stderr
