"""No function, recipe or room grows beyond what can be read: the limits, and every exception with its reason."""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = [*sorted((ROOT / "hemacell").rglob("*.py")), *sorted((ROOT / "projects").glob("*.py"))]

FUNCTION_LINES = 60
#: `file:function` -> why it may be longer.
LONG_FUNCTIONS = {
    "hemacell/tracking/runs/lifecycle.py:track": "33 lines are its arguments and docstring",
}

RECIPE_LINES = 90
#: Recipe -> why it may be longer.
LONG_RECIPES: dict[str, str] = {}

ROOM_SHARE = 0.16
#: Room -> why it may be larger.
LARGE_ROOMS = {"data": "every kind of source of images is a file of its own"}


def line_count(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def room_of(file: Path) -> str:
    """`projects`, or the folder below `hemacell` that a file lies in."""
    parts = file.relative_to(ROOT).parts
    return parts[1] if parts[0] == "hemacell" and len(parts) > 2 else parts[0]


def test_no_function_is_longer_than_sixty_lines():
    long = {
        f"{file.relative_to(ROOT).as_posix()}:{node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES
    }
    assert long == set(LONG_FUNCTIONS)


def test_no_recipe_is_longer_than_ninety_lines():
    recipes = (ROOT / "projects").glob("*.py")
    assert {file.name for file in recipes if line_count(file) > RECIPE_LINES} == set(LONG_RECIPES)


def test_no_room_has_more_than_sixteen_percent_of_the_lines():
    lines: Counter[str] = Counter()
    for file in FILES:
        lines[room_of(file)] += line_count(file)
    assert len(lines) > 10
    assert {room for room, count in lines.items() if count > ROOM_SHARE * lines.total()} == set(LARGE_ROOMS)
