"""Keys of finished steps: they change with what decides a result, and with nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hemacell.config.jobs import JOBS
from hemacell.core import provenance
from hemacell.core.provenance import sources_digest, step_key

ROOT = Path(__file__).resolve().parents[2]
STEPS = ("prcc", "camelyon", "wbc", "evaluate", "export", "predict")


@pytest.fixture(autouse=True)
def fresh():
    sources_digest.cache_clear()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the sources, which digests are taken of."""
    for package in ("hemacell", "projects"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    return tmp_path


def digest(job):
    sources_digest.cache_clear()
    return sources_digest(*JOBS[job].computed_by)


def edit(file, line=b"changed = 1"):
    assert file.is_file()
    file.write_bytes(file.read_bytes() + b"\n" + line + b"\n")


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
        "hemacell/evaluation/saliency.py",
        "hemacell/evaluation/selective.py",
        "hemacell/evaluation/temperature.py",
        "hemacell/classifiers/model.py",
        "hemacell/core/random.py",
    ],
)
def test_a_change_of_the_code_that_computes_a_result_changes_the_digest(copy, source):
    before = digest("wbc")
    edit(copy / source)
    assert digest("wbc") != before


@pytest.mark.parametrize("job", STEPS)
def test_comments_docstrings_and_layout_do_not_count(copy, job):
    before = digest(job)
    for file in [*(copy / "hemacell").rglob("*.py"), *(copy / "projects").glob("*.py")]:
        text = file.read_text()
        file.write_text(f'"""Another description."""\n# and a comment\n\n{text}\n"""Of the last attribute."""\n')
    assert digest(job) == before


def test_a_change_of_another_recipe_or_of_what_shows_keeps_or_starts_a_result_does_not_count(copy):
    before = {job: digest(job) for job in STEPS}
    declared = {copy.joinpath(*name.split(".")).with_suffix(".py") for job in STEPS for name in JOBS[job].computed_by}
    shown = ("tracking", "reporting", "jobs", "config")
    rooms = [file for room in shown for file in (copy / "hemacell" / room).rglob("*.py") if file not in declared]
    assert len(rooms) > 30
    others = [copy / "hemacell" / "core" / "progress.py", copy / "hemacell" / "cli.py", copy / "projects" / "main.py"]
    for file in [*rooms, *others]:
        edit(file)
    (copy / "hemacell" / "training" / "new_idea.py").write_text("not_imported_yet = 1")
    assert {job: digest(job) for job in STEPS} == before
    edit(copy / "projects" / "prcc.py")
    assert [job for job in STEPS if digest(job) != before[job]] == ["prcc"]


def test_jobs_depend_on_their_own_sources(copy):
    before = {job: digest(job) for job in STEPS}
    assert len(set(before.values())) == len(STEPS)
    edit(copy / "hemacell" / "training" / "tasks" / "tiles.py")
    assert [job for job in STEPS if digest(job) != before[job]] == ["prcc"]


@pytest.mark.parametrize("job", JOBS)
def test_a_step_declares_modules_that_exist(job):
    assert digest(job)
    assert bool(JOBS[job].computed_by) == (job != "compare")  # which is never looked up


def test_a_declared_module_that_is_gone_is_an_error():
    with pytest.raises(ValueError, match=r"hemacell\.training\.tasks\.gone is declared to compute a step"):
        sources_digest("hemacell.training.tasks.gone")


def test_the_digest_is_that_of_the_sources_and_not_of_their_place(copy):
    there = digest("prcc")
    provenance._ROOT = ROOT  # put back by the fixture
    assert digest("prcc") == there


def test_a_module_from_outside_counts_with_its_own_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "somebodys_method.py"
    file.write_text("k = 1")
    before = sources_digest("somebodys_method")
    file.write_text("k = 2")
    sources_digest.cache_clear()
    assert sources_digest("somebodys_method") != before


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
    sources_digest.cache_clear()
    assert sources_digest("hemacell.start") != before


def test_imports_in_a_circle_come_to_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    made(tmp_path, start="import hemacell.middle", middle="import hemacell.start, numpy, projects.nowhere")
    assert len(sources_digest("hemacell.start")) == 64


def test_asking_costs_no_torch():
    code = (
        "import sys\nfrom hemacell.core.provenance import sources_digest, step_key\n"
        "print(step_key('wbc', sources_digest('projects.wbc'), {}, {}, 1))\n"
        "assert not {'torch', 'timm', 'numpy', 'mlflow', 'pandas'} & set(sys.modules)"
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


@pytest.mark.parametrize("library", provenance.LIBRARIES)
def test_a_key_depends_on_the_versions_of_the_libraries(library, monkeypatch):
    before, installed = step_key(**STEP), provenance.version
    monkeypatch.setattr(provenance, "version", lambda name: "9.9" if name == library else installed(name))
    assert step_key(**STEP) != before
