"""The documented example adds a figure to the report from a file outside of the package."""

import runpy
from pathlib import Path

import pytest

from hemacell.evaluation.comparison.compare import compare
from hemacell.evaluation.comparison.table import results_table
from hemacell.reporting.figures.registry import STUDY_FIGURES
from hemacell.reporting.study_report import write_report

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "add_a_figure.py"


@pytest.fixture
def added():
    runpy.run_path(str(EXAMPLE))
    yield "spread_between_draws"
    STUDY_FIGURES.remove("spread_between_draws")


def test_a_figure_is_added_by_one_file(added, make_runs, tmp_path):
    runs = make_runs(("none", "camelyon"), ("0.01", "0.1"), draws=2, images=40)
    comparison = compare(runs, resamples=50, permutations=19)
    written = write_report(tmp_path, [comparison], runs, {}, results_table(runs))
    assert tmp_path / "figures" / f"{added}.png" in written
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<section id="spread">' in page and "Spread between draws" in page
    assert "the more the choice of training images matters" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_name_is_given_once(added):
    with pytest.raises(ValueError, match="registered already"):
        runpy.run_path(str(EXAMPLE))
