"""The jobs accept what the documentation says: commands, settings, files, links."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from hemacell.cli import parse
from hemacell.config.jobs import JOBS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "study"),
]
SETTINGS = {name for settings in JOBS.values() for name in settings.model_fields}
OTHER_PROGRAMS = {"source", "git", "cd", "conda", "jupyter", "curl", "tr", "export", "pre-commit"}
# A command inside `...` counts as well where it starts so.
IN_TEXT = re.compile(r"`((?:mlflow run|python -m|python benchmarks|make|pip) [^`]*)`")


def fenced(text: str, language: str) -> list[str]:
    """The blocks of code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands_of(shell: str) -> Iterator[list[str]]:
    """The commands of a shell block, as lists of words, without comments, pipes and subshells."""
    for line in shell.replace("\\\n", " ").splitlines():
        if line.strip().startswith(("(", "echo")):  # builds a request for curl, which no job reads
            continue
        words: list[str] = []
        for word in shlex.split(line, comments=True):
            if word in ("&&", "|", ";"):
                yield words
                words = []
            else:
                words.append(word)
        if words:
            yield words


def documented() -> Iterator[tuple[str, list[str]]]:
    """Where a command stands, and its words."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for shell in [*fenced(text, "sh"), *IN_TEXT.findall(text)]:
            for words in commands_of(" ".join(shell.split()) if "\n" not in shell.strip() else shell):
                yield page.relative_to(ROOT).as_posix(), words
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield from ((f"notebooks/{path.name}", words) for words in indented("".join(cell["source"])))
    for path in [*sorted((ROOT / "projects").glob("*.py")), *sorted((ROOT / "hemacell" / "config").glob("*.py"))]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef)) and (doc := ast.get_docstring(node)):
                yield from ((path.relative_to(ROOT).as_posix(), words) for words in indented(doc))


def indented(text: str) -> Iterator[list[str]]:
    """Commands on lines of their own in a docstring or a notebook's text."""
    for line in text.splitlines():
        line = re.sub(r"\s+\(or: .*\)$", "", line.strip())
        if line.startswith(("mlflow run . ", "python -m projects.")):
            yield from commands_of(line)


COMMANDS = list(documented())


def check(words: list[str]) -> None:
    """Raises where the command would be refused."""
    if words[:3] == ["mlflow", "run", "."]:
        check_mlflow_run(words[3:])
    elif words[:2] == ["python", "-m"] and words[2].startswith("projects."):
        arguments = [word for word in words[3:] if word not in ("…", "...")]
        if "projects.JOB" not in words[2]:
            assert arguments == ["--help"] or parse(JOBS[words[2].removeprefix("projects.")], arguments)
    elif words[:2] == ["python", "-m"]:
        assert list(ROOT.glob(words[2].replace(".", "/") + "*")), f"no module {words[2]}"
    elif words[0] == "python":
        source = (ROOT / words[1]).read_text(encoding="utf-8")
        assert all(f'"{word}"' in source for word in words if word.startswith("--")), "an option that is not read there"
    elif words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets), f"targets are {targets}"
    elif words[0] == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = [name for word in words for name in re.findall(r"\.\[(.*)\]", word)]
        assert set(named) <= set(extras), f"extras are {sorted(extras)}"
        assert all((ROOT / name).is_file() for flag, name in pairwise(words) if flag == "-r"), "no such requirements"
    elif words[0] == "mlflow":
        assert words[1] in ("ui", "models", "server")
    else:
        assert words[0] in OTHER_PROGRAMS, "a program that this test does not know"


def check_mlflow_run(words: list[str]) -> None:
    job, values, rest = "main", {}, iter(words)
    for word in rest:
        if word == "-e":
            job = next(rest)
        elif word == "-P":
            name, _, value = next(rest).partition("=")
            values[name] = value
        elif word == "--env-manager":
            assert next(rest) in ("local", "virtualenv", "uv", "conda")
        elif word not in ("…", "..."):
            raise AssertionError(f"mlflow run does not take {word}")
    if job not in ("JOB", "X"):
        values.pop("name", None) if values.get("name") == "value" else None
        JOBS[job].from_strings(values)


@pytest.mark.parametrize(("place", "words"), COMMANDS, ids=[f"{place}: {' '.join(words)}" for place, words in COMMANDS])
def test_a_documented_command_is_accepted(place, words):
    check(words)


def test_commands_are_found():
    """The collection above finds them: a README without a fence that it knows would pass otherwise."""
    jobs = {(place, words[words.index("-e") + 1]) for place, words in COMMANDS if "-e" in words}
    assert {("README.md", "wbc"), ("README.md", "predict"), ("docs/how-to/study.md", "compare")} <= jobs
    assert set(JOBS) <= {job for _, job in jobs} | {"main"}, "each job is shown in the documentation"


@pytest.mark.parametrize(
    "line",
    [
        "mlflow run . -e wbc -P fracton=0.5",
        "mlflow run . -e wbc -P fraction=2",
        "mlflow run . -e train",
        "python -m projects.wbc --field 1",
        "make everything",
        "python benchmarks/speed.py --nothing 1",
        "pip install -e '.[all]'",
        "pip install -r requirements-all.txt",
        "sudo reboot",
    ],
)
def test_a_command_that_would_be_refused_does_not_pass(line):
    with pytest.raises(Exception):  # noqa: B017 (each is refused in its own way)
        for words in commands_of(line):
            check(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_settings_that_a_page_names_exist(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = set(re.findall(r"`([a-z_]+)=[^`]*`", text)) - {"name"}
    assert named <= SETTINGS, f"no such settings: {sorted(named - SETTINGS)}"


def test_the_readme_links_to_what_is_there_and_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        assert not file or (ROOT / file).exists(), target
        if anchor:
            page = (ROOT / (file or "README.md")).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.*)", page, re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target
    assert len(text.splitlines()) <= 130


def test_the_version_to_cite_is_that_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert [citation[name] for name in ("title", "version", "license")] == [
        project[name] for name in ("name", "version", "license")
    ]


def test_the_hooks_before_a_commit_run_what_is_installed():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    pins = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    for hook in hooks:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert re.search(rf"^{program}==", pins, re.MULTILINE), program


def test_each_example_is_shown_on_a_page():
    """A page includes it by a line that pymdownx.snippets reads; a formatter has broken such lines before."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = re.findall(r'^--8<-- "(.+)"$', pages, re.MULTILINE)
    examples = sorted((ROOT / "docs" / "examples").glob("*.py"))
    assert examples and sorted(shown) == [path.relative_to(ROOT).as_posix() for path in examples]
