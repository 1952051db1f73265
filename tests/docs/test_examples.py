"""Every Python example of the documentation runs: the blocks of the pages, and the examples in docstrings."""

import doctest
import importlib
import re
import shutil
from pathlib import Path

import pytest

from tests.docs.test_commands import PAGES, ROOT, fenced
from tests.projects.conftest import Store

BLOCKS = [
    (page.relative_to(ROOT).as_posix(), block)
    for page in PAGES
    for block in fenced(page.read_text(encoding="utf-8"), "python")
    if "--8<--" not in block  # a file of docs/examples, which has a test of its own
]
# These need an extra, and have a test beside that of the extra.
ELSEWHERE = {"docs/how-to/onnx.md": "onnxruntime", "docs/how-to/spark.md": "pyspark"}
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "hemacell").rglob("*.py")
    if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.fixture(scope="module")
def laboratory(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a tiny classifier of the sample, in a folder with one image `cell.jpg`."""
    from PIL import Image

    store = Store(tmp_path_factory.mktemp("laboratory"), sample.parent)
    store.run("wbc", encoders="none")
    image = next((sample / "WBC_100" / "test" / "data" / "Monocyte").iterdir())
    Image.open(image).convert("RGB").save(store.folder / "cell.jpg")
    shutil.rmtree(store.folder / "mlartifacts", ignore_errors=True)
    return store


def test_there_are_examples():
    assert {"README.md", "docs/how-to/predict.md"} <= {place for place, _ in BLOCKS}
    assert {"hemacell", "hemacell.tracking.serving.client"} <= set(MODULES)


def test_the_example_of_the_readme_is_short():
    (block,) = [block for place, block in BLOCKS if place == "README.md"]
    assert len([line for line in block.splitlines() if line]) <= 5


@pytest.mark.slow
@pytest.mark.parametrize(("place", "block"), BLOCKS, ids=[place for place, _ in BLOCKS])
def test_a_block_of_python_runs(place, block, laboratory, capsys):
    if place in ELSEWHERE:
        assert ELSEWHERE[place] in block
        pytest.skip("tested with its extra")
    with laboratory.here():
        exec(compile(block.replace("@champion", "@sample"), place, "exec"), {"__name__": "__main__"})
    if "print(" in block:
        assert capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_what_they_say(name, laboratory):
    with laboratory.here():
        found = doctest.testmod(
            importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
    assert found.attempted and not found.failed
