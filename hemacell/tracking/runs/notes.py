"""What MLflow's pages show as the description of a run or an experiment: the result, where to look, what to do next.

A note is made from what a run has logged, so that no job has to write one; a job may put its result in its own words
(`Tracker.summary`). The same facts end a job on the screen (`closing_lines`).
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hemacell.evaluation.laboratories import TEST, set_words, splits_elsewhere
from hemacell.tracking.runs.existing import image_counts
from hemacell.tracking.runs.links import (
    children_link,
    compare_link,
    experiment_link,
    files_location,
    full_address,
    model_link,
    run_link,
    ui_hint,
    view_link,
)
from hemacell.tracking.schema import DATA_KIND, ERROR, INTERVALS_OVER, JOB, MODEL_INPUT, NOTE, PARENT, REGISTERED

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

#: What follows this line in a note is the user's, and stays when the note is written again.
END = "*Written by hemacell. What you add below this line stays.*"
#: More runs than this side by side cannot be read.
MOST_COMPARED = 10
# A tag takes 8000 characters.
_MOST_WORDS = 5000

#: The metric that the runs of a job are ranked by.
RANKED_BY = {
    "main": "test/macro_f1",
    "wbc": "test/macro_f1",
    "camelyon": "test/macro_f1",
    "evaluate": "test/macro_f1",
    "prcc": "test/ssim",
}
#: Key of the saved view of an experiment's runs.
BEST_FIRST = "best"
_SCORES = ("metrics.`test/macro_f1`", "metrics.`test/accuracy`")
_CLASSIFIER = ("params.`encoders`", "params.`fraction`", "params.`draw`", *_SCORES, "attributes.`Dataset`")
_COLUMNS = {
    "main": _CLASSIFIER,
    "wbc": _CLASSIFIER,
    "camelyon": (*_SCORES, "params.`arch`", "params.`steps`"),
    "evaluate": ("params.`model`", *_SCORES, "attributes.`Dataset`"),
    "prcc": ("metrics.`test/ssim`", "metrics.`test/psnr`", "params.`steps`"),
}
_WORDS = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "ssim": "SSIM",
    "psnr": "PSNR",
}
_FILES = {
    "wbc": "`mistakes.png`, `confusion_matrix.png`, `reliability.png`, `predictions.json`",
    "camelyon": "`mistakes.png`, `confusion_matrix.png`, `roc.png`",
    "prcc": "`reconstructions.png`, `loss_curves.png`",
    "study": "`report.html`, `report.md`, `results.csv`",
    "compare": "`report.html`, `report.md`, `results.csv`",
    "evaluate": "`comparison.md`, `mistakes.png`, `confusion_matrix.png`",
    "export": "`check.json`",
    "audit": "`audit.html`, `copies.csv`, `doubtful_labels.csv`",
    "adapt": "`adaptation.md`",
}
_EXPERIMENTS = {
    "wbc": "Classifiers of white blood cells, one run for each choice of encoders, labels and draw.",
    "prcc": "Autoencoders that learn from unlabelled kidney tumour tiles; each run registers its encoder.",
    "camelyon": "Classifiers of lymph node patches; each run registers its encoder.",
    "study": "Studies of all arms on all amounts of labels, and comparisons; the report is among a run's files.",
    "main": "Demonstrations on the built-in sample (their scores are not a result).",
    "evaluate": "Registered classifiers on labelled images, compared with the scores on their own test images.",
    "predict": "Tables of predictions of registered classifiers.",
    "export": "Registered classifiers written as ONNX, and checked.",
    "adapt": "Registered classifiers adapted to other laboratories, each registered under the alias of its site.",
    "audit": "What is wrong with images before any training: copies, doubtful labels, odd files.",
}


def write_note(client: MlflowClient, run_id: str, status: str, summary: str = "") -> None:
    """Describe a run on its page; what a user added to its note stays.

    Args:
        client: of the store.
        run_id: of the run, which may still be open.
        status: that it ends with: FINISHED, FAILED or KILLED.
        summary: its result in words (Markdown); '' for what its metrics say.
    """
    run = client.get_run(run_id)
    parent = client.get_run(run.data.tags[PARENT]) if PARENT in run.data.tags else None
    note = note_of(run, status, summary, parent, related_runs(client, run))
    before = run.data.tags.get(NOTE, "")
    _, ours, own = before.partition(END)
    kept = own if ours else f"\n\n{before}" if before else ""
    client.set_tag(run_id, NOTE, f"{note}\n\n{END}{kept}")


def note_of(run: Run, status: str, summary: str, parent: Run | None, related: Sequence[Run]) -> str:
    """The note of a run, as Markdown; see `write_note` and `related_runs`."""
    if status != "FINISHED":
        reason = run.data.tags.get(ERROR, "")
        pieces = [f"**{'Stopped' if status == 'KILLED' else 'Failed'}**{f': {reason}' if reason else '.'}"]
        if "resume" in run.data.params:
            again = _command(run.data.tags.get(JOB, ""), {"resume": run.info.run_id})
            pieces.append(f"**To go on:** `{again}`")
        return "\n\n".join(pieces)
    pieces = [summary[:_MOST_WORDS] or _result(run, related), _sample_warning(run), _links(run, parent, related)]
    pieces.append(f"**Next:** `{next_command(run, related)}`")
    return "\n\n".join(filter(None, pieces))


def describe_experiment(client: MlflowClient, experiment_id: str, job: str) -> None:
    """Describe a new experiment; name what its charts show first, and save a view of its runs, the best first.

    The view is in the menu `Views` of the list of runs. MLflow folds child runs away only in a list that is sorted by
    time, so that this one shows all.
    """
    words, ranked = _EXPERIMENTS.get(job, f"Runs of {job}."), RANKED_BY.get(job)
    tags = {"mlflow.experimentKind": "custom_model_development"}
    if ranked:
        words += f" **[All in one list, best first]({view_link(experiment_id, BEST_FIRST)})**"
        state = {"orderByKey": f"metrics.`{ranked}`", "orderByAsc": False, "selectedColumns": list(_COLUMNS[job])}
        now = int(time.time() * 1000)
        view = {"name": f"best {ranked} first", "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
        tags |= {
            f"mlflow.sharedViewState.{BEST_FIRST}": json.dumps(view),
            "mlflow.experiment.primaryMetric.name": ranked,
            "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
        }
    tags[NOTE] = f"{words}\n\nTo compare runs, tick them in the list and click **Compare**."
    for key, value in tags.items():
        client.set_experiment_tag(experiment_id, key, value)


def closing_lines(run_id: str) -> list[str]:
    """How a job ends on the screen: the pages of the run, where its files are, and the most useful next command."""
    from mlflow import MlflowClient

    client = MlflowClient()
    run = client.get_run(run_id)
    related = related_runs(client, run)
    lines = [ui_hint(), f"this run: {full_address(run_link(run))}"]
    if compared := _compared(related):
        lines.append(f"side by side: {full_address(compared)}")
    return [*lines, f"files: {files_location(run)}", f"next: {next_command(run, related)}"]


def related_runs(client: MlflowClient, run: Run) -> list[Run]:
    """The runs that a run is about, the oldest first: the finished ones under it, or those that it compares."""
    if run_ids := [each for each in run.data.params.get("runs", "").split(",") if each]:
        return [client.get_run(run_id) for run_id in run_ids]
    above = [each for each in run.data.params.get("study", "").split(",") if each] or [run.info.run_id]
    found: list[Run] = []
    for parent in map(client.get_run, above):
        text = f"tags.`{PARENT}` = '{parent.info.run_id}' and attributes.status = 'FINISHED'"
        order = ["attributes.start_time ASC"]
        found += client.search_runs([parent.info.experiment_id], text, order_by=order)
    return found


def next_command(run: Run, related: Sequence[Run] = ()) -> str:
    """The command that is most useful after this run."""
    job, params, tags = run.data.tags.get(JOB, ""), run.data.params, run.data.tags
    sample = tags.get(DATA_KIND) == "sample"
    data = {"data": "DIR"} if sample else {"data": params["data"]} if params.get("data") else {}
    used = MODEL_INPUT.format(role="classifier", name="wbc")
    model = tags.get(REGISTERED) or tags.get(used) or params.get("model", "")
    if job == "main" and (classifiers := _classifiers(related)):
        return _command("compare", {"runs": ",".join(each.info.run_id for each in classifiers)})
    if job == "study":
        return _command("compare", {"study": run.info.run_id, "output": "DIR"})
    if job == "wbc" and tags.get(REGISTERED) and not sample:
        return _command("predict", {"model": model, "images": "DIR", "output": "cells.csv"})
    if job == "compare" and not sample:
        return _command("study", data)
    if job == "evaluate" and model:
        return _command("predict", {"model": model, "images": "DIR", "output": "cells.csv"})
    if job == "adapt" and tags.get(REGISTERED):
        site = {"model": params["model"], "site": params["site"]}
        return _command("predict", {**site, "images": "DIR", "output": "cells.csv"})
    if job in ("predict", "export"):
        return _command("evaluate", {"model": model, "data": "DIR"})
    if job == "audit" and params.get("images", "wbc") != "wbc":
        return _command(params["images"], data)  # the job that learns from such images
    return _command("wbc", {**data, "fraction": "0.5"})


def _command(job: str, settings: Mapping[str, str]) -> str:
    return " ".join([f"mlflow run . -e {job}", *(f"-P {shlex.quote(f'{k}={v}')}" for k, v in settings.items())])


def _result(run: Run, related: Sequence[Run]) -> str:
    """What the metrics of a run say; '' where it has none that a person would ask for."""
    if run.data.tags.get(JOB) in ("main", "study", "compare"):
        compared = _classifiers(related)[:MOST_COMPARED]
        return "\n".join(f"* [{each.info.run_name}]({run_link(each)}): {_scores(each, 'test')}" for each in compared)
    found = [(split, _scores(run, split)) for split in (TEST, *splits_elsewhere(run.data.metrics))]
    return "\n\n".join(
        f"On {_images(run, split)}: {scores}.{_intervals_over(run, split)}" for split, scores in found if scores
    )


def _scores(run: Run, prefix: str) -> str:
    """`macro-F1 **0.835** [0.778, 0.884], accuracy …`, with the 95 % intervals that the run has."""
    scores = [_score(run.data.metrics, f"{prefix}/{name}", words) for name, words in _WORDS.items()]
    return ", ".join(filter(None, scores))


def _score(metrics: Mapping[str, float], name: str, words: str) -> str:
    if name not in metrics:
        return ""
    text = f"{words} **{metrics[name]:.3f}**"
    if f"{name}_low" in metrics:
        text += f" [{metrics[f'{name}_low']:.3f}, {metrics[f'{name}_high']:.3f}]"
    return text


def _intervals_over(run: Run, prefix: str) -> str:
    """What the intervals in brackets are over, where there are some."""
    if not (units := run.data.tags.get(INTERVALS_OVER.format(prefix))):
        return ""
    no_groups = "" if "group" in units else " (no patients or slides are known: for other patients they are too narrow)"
    return f" Intervals in brackets: 95 %, over {units}{no_groups}."


def _images(run: Run, prefix: str) -> str:
    """`1,545 test images`, `242 lisc images`, with the number where the run's data set says it."""
    count = image_counts(run, prefix).get("test_images")
    images = f"{set_words(prefix)} images"
    return f"{count:,} {images}" if count else images


def _sample_warning(run: Run) -> str:
    if run.data.tags.get(DATA_KIND) != "sample":
        return ""
    return "**This is not a result:** the images are the built-in sample, drawn by the program to show that all works."


def _links(run: Run, parent: Run | None, related: Sequence[Run]) -> str:
    job, tags = run.data.tags.get(JOB, ""), run.data.tags
    lines = [f"Part of [{parent.info.run_name}]({run_link(parent)})"] if parent else []
    if any(each.data.tags.get(PARENT) == run.info.run_id for each in related):
        lines.append(f"Its {len(related)} runs: [in one list, best first]({children_link(run, 'test/macro_f1')})")
    if compared := _compared(related):
        lines.append(f"[The classifiers side by side]({compared})")
    if registered := tags.get(REGISTERED):
        lines.append(f"Registered as {_model(registered)}")
    for key, uri in sorted(tags.items()):
        role = key.partition(".")[0]
        if role in ("encoder", "classifier", "model") and uri.startswith("models:/") and "@" not in uri:
            lines.append(f"{role.capitalize()}: {_model(uri)}")
    if files := _FILES.get(job):
        lines.append(f"Look at the tab **Artifacts**: {files}")
    if ranked := RANKED_BY.get(job):
        best_first = experiment_link(run.info.experiment_id, sort_by=ranked)
        lines.append(f"To compare: tick runs in [the list, best first]({best_first}), then click **Compare**")
    return "\n".join(f"* {line}" for line in lines)


def _model(uri: str) -> str:
    return f"[{uri.removeprefix('models:/')}]({model_link(uri)})"


def _classifiers(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.data.tags.get(JOB) == "wbc"]


def _compared(related: Sequence[Run]) -> str:
    """The page that compares the classifiers among these, or '' where they are not between two and a few."""
    classifiers = _classifiers(related)
    return compare_link(classifiers) if 2 <= len(classifiers) <= MOST_COMPARED else ""
