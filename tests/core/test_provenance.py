"""Keys of finished steps: they change with what decides a result, and with nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hemacell.core import provenance
from hemacell.core.provenance import sources_digest, step_key

ROOT = Path(__file__).resolve().parents[2]
JOBS = ("prcc", "camelyon", "wbc")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the sources, which digests are taken of."""
    for package in ("hemacell", "projects"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    return tmp_path


def edit(file):
    assert file.is_file()
    file.write_bytes(file.read_bytes() + b"\n# changed\n")


@pytest.mark.parametrize(
    "source",
    [
        "projects/wbc.py",
        "hemacell/data/augmentation.py",
        "hemacell/encoders/timm_backbone.py",
        "hemacell/training/loop.py",
        "hemacell/training/schedule.py",
        "hemacell/classifiers/cell_network.py",
        "hemacell/data/decoding.py",
        "hemacell/data/images.py",
        "hemacell/data/subsets.py",
        "hemacell/evaluation/metrics.py",
        "hemacell/evaluation/temperature.py",
        "hemacell/classifiers/model.py",
        "hemacell/core/random.py",
    ],
)
def test_a_change_of_what_decides_a_result_changes_the_digest(copy, source):
    before = sources_digest("projects.wbc")
    edit(copy / source)
    assert sources_digest("projects.wbc") != before


def test_a_change_of_what_only_shows_or_keeps_it_does_not(copy):
    before = {job: sources_digest(f"projects.{job}") for job in JOBS}
    shown = [
        *(copy / "hemacell" / "tracking").rglob("*.py"),
        *(copy / "hemacell" / "reporting").rglob("figures*/*.py"),
    ]
    assert len(shown) > 10
    # what a setting was is in the key by its value
    settings = [*(copy / "hemacell" / "config").glob("*.py")]
    for file in [*shown, *settings, copy / "hemacell" / "core" / "progress.py", copy / "hemacell" / "cli.py"]:
        edit(file)
    (copy / "hemacell" / "training" / "new_idea.py").write_text("nobody imports this yet = 1")
    assert {job: sources_digest(f"projects.{job}") for job in JOBS} == before


def test_jobs_have_digests_of_their_own_and_depend_on_their_own_sources(copy):
    before = {job: sources_digest(f"projects.{job}") for job in JOBS}
    assert len(set(before.values())) == 3
    edit(copy / "hemacell" / "training" / "tasks" / "tiles.py")
    after = {job: sources_digest(f"projects.{job}") for job in JOBS}
    assert after["prcc"] != before["prcc"] and after["camelyon"] == before["camelyon"]


def test_the_digest_is_that_of_the_sources_and_not_of_their_place(copy):
    there = sources_digest("projects.prcc")
    provenance._ROOT = ROOT  # put back by the fixture
    assert sources_digest("projects.prcc") == there


def made(folder, **modules):
    for name, text in modules.items():
        file = folder.joinpath("hemacell", *name.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize(
    "line",
    [
        "import hemacell.deep.target",
        "import hemacell.deep.target as other",
        "from hemacell.deep import target",
        "from hemacell.deep.target import something",
        "def late():\n    from hemacell.deep import target",
        "try:\n    import hemacell.deep.target\nexcept ImportError:\n    raise",
        "from hemacell import middle",
    ],
)
def test_every_kind_of_import_is_followed(tmp_path, monkeypatch, line):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    made(tmp_path, start=line, middle="import hemacell.deep.target", deep__target="x = 1")
    before = sources_digest("hemacell.start")
    made(tmp_path, deep__target="x = 2")
    assert sources_digest("hemacell.start") != before


def test_imports_in_a_circle_come_to_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    made(tmp_path, start="import hemacell.middle", middle="import hemacell.start, numpy, projects.nowhere")
    assert len(sources_digest("hemacell.start")) == 64


def test_asking_costs_no_torch():
    code = (
        "import sys\nfrom hemacell.core.provenance import sources_digest, step_key\n"
        "print(step_key('wbc', sources_digest('projects.wbc'), {}, {}, 1))\n"
        "assert not {'torch', 'numpy', 'mlflow', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == step_key("wbc", sources_digest("projects.wbc"), {}, {}, 1)


STEP = {
    "job": "wbc",
    "sources": "s",
    "settings": {"seed": "0", "fraction": "0.5"},
    "inputs": {"data": "d", "prcc": "m-1"},
    "threads": 2,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job", "prcc"),
        ("sources", "t"),
        ("settings", {"seed": "1", "fraction": "0.5"}),
        ("settings", {"seed": "0"}),
        ("settings", {"seed": "0", "fraction": "0.5", "clip": "1"}),
        ("inputs", {"data": "e", "prcc": "m-1"}),
        ("inputs", {"data": "d", "prcc": "m-2"}),
        ("inputs", {"data": "d"}),
        ("threads", 1),
    ],
)
def test_a_key_depends_on_every_argument(name, value):
    assert step_key(**STEP) != step_key(**(STEP | {name: value}))


def test_a_key_does_not_depend_on_the_order_of_settings():
    backwards = dict(reversed(STEP["settings"].items()))
    assert step_key(**STEP) == step_key(**(STEP | {"settings": backwards}))
    assert len(step_key(**STEP)) == 64
