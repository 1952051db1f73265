"""Other laboratories in a study's report: the means of what the runs logged."""

from dataclasses import replace

import numpy as np
import pytest

from hemacell.evaluation.comparison.compare import compare
from hemacell.evaluation.comparison.grid import splits_of
from hemacell.reporting.laboratories_section import laboratories_section


@pytest.fixture(scope="module")
def runs(make_runs):
    made = make_runs(("none", "prcc"), ("0.1", "1.0"), draws=3, images=120, external=60, laboratories=("lisc", "jtsc"))
    extra = {f"external_labels/lisc/{amount}/macro_f1": 0.8 + amount / 100 for amount in (5, 20)} | {
        "external_adapted/lisc/macro_f1": 0.75,
        "external_adapted/lisc/accuracy": 0.7,
        "external/lisc/ood_share": 0.5,
    }
    return [replace(run, metrics={**run.metrics, **extra}) for run in made]


@pytest.fixture(scope="module")
def comparisons(runs):
    return [compare(runs, split=split, resamples=50, permutations=49) for split in splits_of(runs)]


def test_each_laboratory_has_the_means_of_the_runs_with_most_labels(runs, comparisons):
    summary, per_class = laboratories_section(comparisons, runs).tables
    assert summary.head[1:5] == ("as it is", "adapted", "5 labels per class", "20 labels per class")
    by_name = {group.name: group.rows for group in summary.groups}
    assert set(by_name) == {"lisc", "jtsc"}
    values = [run.metrics["external/lisc/macro_f1"] for run in runs if (run.arm, run.amount) == ("prcc", "1.0")]
    row = by_name["lisc"][1]
    assert row[1] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    assert row[2:] == ("0.750 ± 0.000", "0.850 ± 0.000", "1.000 ± 0.000", "50 %", "–")
    assert by_name["jtsc"][0][2:] == ("–",) * 5
    assert [group.name for group in per_class.groups] == ["jtsc", "lisc", "lisc, adapted without labels"]


def test_without_other_laboratories_there_is_no_section(runs, comparisons):
    assert laboratories_section(comparisons[:1], runs) is None
