"""What a finished step depended on, so that it is not run again while nothing of it has changed.

A step declares the modules that compute it. The code of these and of all modules of ours that they import counts, but
not its comments, docstrings and layout; so do the versions of the libraries that decide the numbers.
"""

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
#: Not followed, unless a step declares them: what shows, keeps or starts a result, and the other recipes.
_LEFT_OUT = (
    "projects",
    "hemacell.cli",
    "hemacell.config",  # what a setting was is in the key itself
    "hemacell.core.logging",
    "hemacell.core.progress",
    "hemacell.core.provenance",
    "hemacell.jobs",
    "hemacell.reporting",
    "hemacell.tracking",
)
#: Libraries whose version decides the digits of a result.
LIBRARIES = ("torch", "timm", "numpy", "pillow", "scipy", "scikit-image")


def step_key(job: str, sources: str, settings: Mapping[str, str], inputs: Mapping[str, str], threads: int) -> str:
    """sha256 of all that decides a step's result, in hex.

    Args:
        job: its name.
        sources: from `sources_digest`.
        settings: in canonical text, those that decide the result.
        inputs: digests of data and encoders.
        threads: number of threads, which decides the last digits.
    """
    facts = {
        "job": job,
        "sources": sources,
        "settings": dict(settings),
        "inputs": dict(inputs),
        "threads": threads,
        "versions": library_versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """The installed versions of the libraries that decide the digits of a result."""
    return {library: version(library) for library in LIBRARIES}


@functools.lru_cache  # a study asks once per run; this process runs the sources that it has read
def sources_digest(*modules: str) -> str:
    """sha256 of the code of these modules and of those of this project that they import, directly or not.

    The imports are read from the text: nothing is imported, so that asking costs no torch.

    Args:
        modules: names of modules that compute the step; one from outside this project (a method or an encoder that
            somebody has registered) counts with its own file alone.

    Raises:
        ValueError: a declared module has no source file.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in seen or (name not in modules and _is_left_out(name)):
            continue
        file = _file(name) or (_file_outside(name) if name in modules else None)
        if file is None:
            continue
        tree = ast.parse(file.read_bytes())
        waiting += _imports(tree)
        seen[name] = code_digest(tree)
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def code_digest(tree: ast.Module) -> str:
    """sha256 of a module's code without comments, docstrings and layout; the tree loses its docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            # string literals as statements: they describe a module, class, function or attribute
            node.body = [line for line in node.body if not _is_text(line)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _is_left_out(name: str) -> bool:
    return any(name == each or name.startswith(each + ".") for each in _LEFT_OUT)


def _file(module: str) -> Path | None:
    if module.split(".")[0] not in ("hemacell", "projects"):
        return None
    base = _ROOT.joinpath(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _file_outside(module: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or not found.origin:
        raise ValueError(f"{module} is declared to compute a step, but has no source file")
    return Path(found.origin)


def _imports(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from package import module` names a module too; where it is a function, no such file is found
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
