"""The made-up runs of a study, which the tests of a comparison use as well."""

from tests.evaluation.comparison.conftest import make_runs

__all__ = ["make_runs"]
