"""What a reader of a comparison must know to find its runs again, and to judge the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hemacell.evaluation.comparison.grid import splits_of
from hemacell.evaluation.comparison.records import RunRecord
from hemacell.evaluation.laboratories import TEST, set_words


def study_facts(run_id: str, records: Sequence[RunRecord]) -> dict[str, str]:
    """Label -> text, for the end of the report.

    Args:
        run_id: of the run that the report lies on.
        records: the runs that are compared.
    """

    def all_of(tag: str) -> str:
        return ", ".join(sorted({record.tags[tag] for record in records if record.tags.get(tag)}))

    def folders(setting: str) -> str:
        names = {Path(record.settings[setting]).name for record in records if record.settings.get(setting)}
        return ", ".join(sorted(names))

    seconds = sum(record.metrics.get("train_seconds", 0.0) for record in records)
    encoders = {
        tag.removeprefix("encoder."): uri
        for record in records
        for tag, uri in record.tags.items()
        if tag.startswith("encoder.") and uri.startswith("models:")
    }
    facts = {
        "data.kind": all_of("data.kind"),
        "data": folders("data"),
        "other laboratories": ", ".join(sorted(set_words(split) for split in splits_of(records) if split != TEST)),
        "training images": f"{len({record.train_digest for record in records})} different sets",
        "encoders": ", ".join(f"{name}: {uri}" for name, uri in sorted(encoders.items())),
        "sources": all_of("git.commit") + (" (with changes)" if "true" in all_of("git.dirty") else ""),
        "threads per run": all_of("threads"),
        "training time of all runs": f"{seconds / 3600:.1f} hours",
        "MLflow run": run_id,
    }
    return {name: text for name, text in facts.items() if text}
