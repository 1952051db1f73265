"""The descriptions that MLflow's pages show, and how a job ends on the screen."""

import json
from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.tracking.runs import lifecycle, links, notes

SAMPLE = {"data.kind": "sample"}
REAL = {"data.kind": "folder"}


def note_of(run) -> str:
    import mlflow

    return mlflow.MlflowClient().get_run(run.run_id).data.tags[notes.NOTE]


def classifier(encoders: str, f1: float, tags=SAMPLE, **settings):
    """A finished run of wbc."""
    with lifecycle.track("wbc", {"encoders": encoders, "fraction": 0.5, **settings}, tags=tags) as run:
        run.data_input("0" * 32, "WBC_100", "/data", {"test": {"Monocyte": 1200, "Basophil": 300}}, "training")
        run.metrics({"test/macro_f1": f1, "test/macro_f1_low": f1 - 0.1, "test/macro_f1_high": f1 + 0.1, "lr": 1})
    return run


def test_a_classifier_says_its_result_and_where_to_look(store):
    with lifecycle.track("main", {}, tags=SAMPLE) as parent:
        run = classifier("none", 0.8)
    note = note_of(run)
    assert note.startswith("On 1,500 test images: macro-F1 **0.800** [0.700, 0.900].\n\n**This is not a result:**")
    assert f"Part of [demo 100 %](#/experiments/1/runs/{parent.run_id})" in note
    assert "`mistakes.png`" in note and "lr" not in note.split("Look at")[0]
    assert "**Next:** `mlflow run . -e wbc -P data=DIR -P fraction=0.5`" in note


def test_other_laboratories_are_told_by_name_with_their_numbers_of_images(store):
    with lifecycle.track("wbc", {"encoders": "none", "fraction": 0.5}, tags=REAL) as run:
        # as a store may hand them back: in any order
        for split, count in (("external/lisc", 242), ("training", 1500), ("external/jtsc", 300)):
            run.data_input(f"{count:032}", "cells", "/data", {"test": {"Monocyte": count}}, split)
        run.metrics({f"{split}/macro_f1": 0.5 for split in ("test", "external/lisc", "external/jtsc")})
        run.metrics({f"{split}/accuracy": 0.25 for split in ("test", "external/lisc", "external/jtsc")})
    shown = note_of(run).split("\n\n")[:3]
    scores = "macro-F1 **0.500**, accuracy **0.250**."
    assert shown == [f"On {images}: {scores}" for images in ("1,500 test images", "300 jtsc images", "242 lisc images")]


def test_what_real_images_trained_is_a_result_and_leads_to_its_model(store):
    run = classifier(
        "prcc",
        0.8,
        REAL | {notes.REGISTERED: "models:/hemacell-wbc/3", "encoder.prcc": "models:/hemacell-prcc-encoder/1"},
    )
    note = note_of(run)
    assert "no result" not in note
    assert "Registered as [hemacell-wbc/3](#/models/hemacell-wbc/versions/3)" in note
    assert "Encoder: [hemacell-prcc-encoder/1](#/models/hemacell-prcc-encoder/versions/1)" in note
    assert "`mlflow run . -e predict -P model=models:/hemacell-wbc/3 -P images=DIR -P output=cells.csv`" in note


def test_a_parent_lists_its_classifiers_and_compares_them(store):
    import mlflow

    with lifecycle.track("main", {"fraction": 0.5}, tags=SAMPLE) as parent:
        with lifecycle.track("prcc", {"steps": 60}, tags=SAMPLE):
            pass
        both = [classifier("none", 0.6), classifier("prcc,camelyon", 0.7)]
    compared = links.compare_link([mlflow.MlflowClient().get_run(run.run_id) for run in both])
    note = note_of(parent)
    assert note.startswith(f"* [none 50 % draw 0](#/experiments/1/runs/{both[0].run_id}): macro-F1 **0.600**")
    assert f"side by side]({compared})" in note and "Its 3 runs" in note
    ids = ",".join(run.run_id for run in both)
    assert f"-e compare -P runs={ids}" in note

    with lifecycle.track("compare", {"runs": ids}, tags=SAMPLE) as comparison:
        comparison.summary = "At 50 %: no difference."
    note = note_of(comparison)
    assert note.startswith("At 50 %: no difference.\n\n") and compared in note and "Its 2 runs" not in note

    # the last lines of `make demo` and of `compare`
    for run in (parent, comparison):
        lines = notes.closing_lines(run.run_id)
        assert f"side by side: http://127.0.0.1:5000/{compared}" in lines
        assert lines[-2].startswith("files: ") and Path(lines[-2].removeprefix("files: ")).name == "artifacts"
        assert lines[-1].startswith("next: mlflow run . -e ")


def test_a_run_that_failed_says_why_and_how_to_go_on(store):
    with pytest.raises(UserError), lifecycle.track("wbc", {"resume": ""}) as run:
        raise UserError("no such folder")
    note = note_of(run)
    assert note.startswith("**Failed**: no such folder")
    assert f"`mlflow run . -e wbc -P resume={run.run_id}`" in note


def test_what_a_user_wrote_into_a_note_stays(store):
    import mlflow

    client = mlflow.MlflowClient()
    run = classifier("none", 0.8, resume="")
    client.set_tag(run.run_id, notes.NOTE, note_of(run) + "\nmine")
    with lifecycle.track("wbc", {}, resume=run.run_id) as run:
        pass
    assert note_of(run).endswith(f"{notes.END}\nmine") and note_of(run).count(notes.END) == 1
    with lifecycle.track("wbc", {"encoders": "none"}, resume="") as run:
        run.tags({notes.NOTE: "written while it ran"})
    assert note_of(run).endswith(f"{notes.END}\n\nwritten while it ran")


def test_an_experiment_has_a_description_and_a_view_of_its_best_runs(store):
    import mlflow

    with lifecycle.track("wbc", {"encoders": "none"}) as run:
        pass
    client = mlflow.MlflowClient()
    tags = client.get_experiment(run.experiment_id).tags
    assert f"(#/experiments/{run.experiment_id}/runs?viewStateShareKey=best)" in tags[notes.NOTE]
    state = json.loads(json.loads(tags["mlflow.sharedViewState.best"])["state"])
    assert state["orderByKey"] == "metrics.`test/macro_f1`" and "params.`encoders`" in state["selectedColumns"]

    # one that was there before is the user's
    client.create_experiment("theirs")
    with lifecycle.track("wbc", {}, experiment="theirs") as run:
        pass
    assert notes.NOTE not in client.get_experiment(run.experiment_id).tags


@pytest.mark.parametrize("job", sorted(notes._EXPERIMENTS))
def test_every_job_has_a_next_command_that_its_settings_accept(store, job):
    """The command of the note is one that the command line of that job takes."""
    import shlex

    import mlflow

    from hemacell.config.jobs import JOBS

    with lifecycle.track(job, {"model": "models:/hemacell-wbc/3"}, tags=REAL) as run:
        pass
    words = shlex.split(notes.next_command(mlflow.MlflowClient().get_run(run.run_id)))
    assert words[:4] == ["mlflow", "run", ".", "-e"]
    given = dict(word.split("=", 1) for word in words[6::2])
    JOBS[words[4]].from_strings(given)


def test_after_an_audit_comes_the_job_that_learns_from_such_images(store):
    import mlflow

    with lifecycle.track("audit", {"images": "prcc", "data": "DIR"}, tags=REAL) as run:
        pass
    assert notes.next_command(mlflow.MlflowClient().get_run(run.run_id)) == "mlflow run . -e prcc -P data=DIR"
