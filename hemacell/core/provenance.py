"""What a finished step depended on, so that it is not run again while nothing of it has changed."""

import ast
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
#: What changes how a result is shown or kept, but not the result.
_LEFT_OUT = (
    "hemacell.tracking",
    "hemacell.reporting",
    "hemacell.evaluation.comparison",
    "hemacell.core.progress",
    "hemacell.core.provenance",
    # What a setting was is in the key itself.
    "hemacell.config",
    "hemacell.cli",
)


def step_key(job: str, sources: str, settings: Mapping[str, str], inputs: Mapping[str, str], threads: int) -> str:
    """sha256 of all that decides a step's result, in hex.

    Args:
        job: its name.
        sources: from `sources_digest`.
        settings: in canonical text, without those that only say how the run is driven.
        inputs: digests of data and encoders.
        threads: number of threads: another one gives other last digits.
    """
    facts = {"job": job, "sources": sources, "settings": dict(settings), "inputs": dict(inputs), "threads": threads}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sources_digest(module: str, left_out: Collection[str] = _LEFT_OUT) -> str:
    """sha256 of the sources of a module of this project and of those of ours that it imports, directly or not.

    The imports are read from the text: nothing is imported, so that asking costs no torch.
    """
    seen: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or any(name == each or name.startswith(each + ".") for each in left_out):
            continue
        file = _file(name)
        if file is None:
            continue
        text = file.read_bytes()
        seen[name] = text
        waiting += _imports(ast.parse(text))
    digest = hashlib.sha256()
    for name, text in sorted(seen.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(text).digest())
    return digest.hexdigest()


def _file(module: str) -> Path | None:
    if module.split(".")[0] not in ("hemacell", "projects"):
        return None
    base = _ROOT.joinpath(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _imports(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from package import module` names a module too; where it is a function, no such file is found
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
