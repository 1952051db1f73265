"""The study as a user meets it: one command makes the grid, goes on after a kill, and ends with a report."""

import io
import json
import signal
import subprocess
import time

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

RUNS = {(arm, fraction, draw) for arm in ("none", "random-prcc") for fraction in ("0.1", "1.0") for draw in "01"}
# what a clock or chance decides, not the computation
NOT_THE_RESULT = ["run_id", "train_seconds"]


def result(own, job="study"):
    """The newest run of a job."""
    return own.runs(f"tags.`hemacell.job` = '{job}'")[0]


def table(own, run_id: str) -> pd.DataFrame:
    rows = pd.read_csv(io.StringIO(own.files(run_id)["results.csv"].read_text()))
    return rows.drop(columns=NOT_THE_RESULT).sort_values(["arm", "fraction", "draw"], ignore_index=True)


def start(own, folder, *options, job="study", **given):
    with (folder / f"printed {time.monotonic()}").open("w+") as printed:
        process = subprocess.Popen(
            own.command(job, *options, **given),
            cwd=folder,
            env={**own.environment, "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"},
            stdout=printed,
            stderr=subprocess.STDOUT,
            text=True,
        )
    process.printed = lambda: (folder / printed.name).read_text()
    return process


def finish(own, folder, *options, code=0, job="study", **given) -> str:
    process = start(own, folder, *options, job=job, **given)
    assert process.wait() == code, process.printed()
    return process.printed()


@pytest.fixture(scope="module")
def study(new_store, laboratories):
    """One study by `mlflow run`, the same command again, and what both printed."""
    own = new_store("study")
    dry = own.mlflow_run("study", external=laboratories, dry_run=True)
    first = own.mlflow_run("study", external=laboratories)
    again = own.mlflow_run("study", external=laboratories)
    for done in (dry, first, again):
        assert done.returncode == 0, done.stderr
    return own, dry, first, again


def children_of(own, run):
    return own.runs(f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")


def test_a_dry_run_shows_the_grid_and_opens_no_run(study):
    own, dry, *_ = study
    printed = dry.stdout + dry.stderr
    assert "0 of 2" in printed and "8 runs, 0 done, 8 to compute, 2 side by side: about" in printed
    assert len(own.runs("tags.`hemacell.job` = 'study'")) == 1


def test_every_run_is_a_child_that_compares_well(study):
    own, *_ = study
    run = result(own)
    assert run.info.status == "FINISHED"
    children = children_of(own, run)
    seen = {(c.data.params["encoders"], c.data.params["fraction"], c.data.params["draw"]) for c in children}
    assert len(children) == 8 and seen == RUNS
    assert {c.info.status for c in children} == {"FINISHED"}
    assert "none 10 % draw 0" in {c.info.run_name for c in children}
    assert {c.info.experiment_id for c in children} == {run.info.experiment_id}
    assert own.client.get_experiment(run.info.experiment_id).name == "hemacell-study"
    for child in children:
        assert child.data.metrics["test/macro_f1"] >= 0
        assert {"external/near/macro_f1", "external/far_away/macro_f1"} <= set(child.data.metrics)
        has_encoder = child.data.params["encoders"] != "none"
        assert ("external_adapted/near/macro_f1" in child.data.metrics) == has_encoder
        assert child.data.tags["threads"] == "1"
        assert "step" not in child.data.metrics, "it is the axis, and would head the comparison page"
    # runs of a study register nothing
    assert not [model for model in own.client.search_registered_models() if model.name == "hemacell-wbc"]


def test_arms_of_a_draw_share_images_and_steps_and_seeds_follow_the_draw(study):
    own, *_ = study
    draws = {}
    for child in children_of(own, result(own)):
        key = child.data.params["fraction"], child.data.params["draw"]
        facts = child.data.tags["draw.digest"], child.data.params["steps"], child.data.params["seed"]
        draws.setdefault(key, set()).add(facts)
    assert len(draws) == 4 and all(len(facts) == 1 for facts in draws.values())
    digest = {key: next(iter(facts))[0] for key, facts in draws.items()}
    assert digest["0.1", "0"] != digest["0.1", "1"] and digest["1.0", "0"] == digest["1.0", "1"]
    assert {key[1] for key in draws} == {next(iter(facts))[2] for facts in draws.values()}


def test_what_lies_on_the_run_of_the_study(study):
    own, _, first, _ = study
    run = result(own)
    files = own.files(run.info.run_id)
    assert {"report.html", "report.md", "results.csv", "runs.json", "answer.txt"} <= set(files)
    assert {f"figures/external-{name}_label_efficiency.png" for name in ("near", "far_away")} <= set(files)
    assert "sample" in files["report.html"].read_text().lower()
    assert "| near | random-prcc |" in files["report.md"].read_text().partition("## Other laboratories")[2]
    assert len(json.loads(files["runs.json"].read_text())) == 8
    inputs = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert set(inputs) == {"study", "external/near", "external/far_away"} and "skipped-external-far_away.csv" in files
    assert inputs["study"].digest == run.data.tags["data.digest"][:32]
    rows = table(own, run.info.run_id)
    for arm, slug in (("none", "none"), ("random-prcc", "random-prcc")):
        for fraction in (0.1, 1.0):
            of_cell = rows[(rows["arm"] == arm) & (rows["fraction"] == fraction)]
            assert run.data.metrics[f"macro_f1/{slug}/{fraction}"] == pytest.approx(of_cell["test/macro_f1"].mean())
    assert "At 10 %: " in first.stdout and "report.html" in first.stdout


def test_the_same_command_again_computes_nothing(study):
    own, _, _, again = study
    assert "has done exactly this already; type force=true" in again.stderr
    assert "At 10 %: " in again.stdout
    assert len(own.runs("tags.`hemacell.job` = 'wbc'")) == 8
    assert len(own.runs("tags.`hemacell.job` = 'study'")) == 1


def test_nothing_to_do_needs_no_torch(study, tmp_path, laboratories):
    own, *_ = study
    printed = finish(own, tmp_path, "-X", "importtime", external=laboratories)
    imported = {line.split("|")[-1].strip().split(".")[0] for line in printed.splitlines()}
    assert "mlflow" in imported and not imported & {"torch", "torchvision", "timm", "matplotlib"}


def test_another_study_takes_over_the_runs_that_it_shares(study, tmp_path, laboratories):
    own, *_ = study
    before = {run.info.run_id for run in own.runs("tags.`hemacell.job` = 'wbc'")}
    arms = "random-prcc; fast: encoders=none, learning_rate=0.01; none"
    printed = finish(own, tmp_path, external=laboratories, arms=arms, fractions="0.1")
    assert "6 runs, 4 done, 2 to compute" in printed
    run = result(own)
    added = {run.info.run_id for run in own.runs("tags.`hemacell.job` = 'wbc'")} - before
    assert {child.info.run_id for child in children_of(own, run)} == added and len(added) == 2
    assert sorted(table(own, run.info.run_id)["arm"]) == ["fast"] * 2 + ["none"] * 2 + ["random-prcc"] * 2
    assert "macro_f1/fast/0.1" in run.data.metrics
    answer = own.files(run.info.run_id)["answer.txt"].read_text()
    assert "fast" in answer and "other settings" not in answer, "an arm is what it was asked to be"
    fast = [child for child in children_of(own, run) if child.info.run_name == "fast 10 % draw 0"]
    assert [child.data.params["learning_rate"] for child in fast] == ["0.01"]
    # which also compares them
    own_report = own.run("compare", study=run.info.run_id)
    pd.testing.assert_frame_equal(table(own, own_report.info.run_id), table(own, run.info.run_id))


def test_compare_rebuilds_the_report_and_answers_for_two_runs(study, tmp_path):
    own, *_ = study
    run = own.runs("tags.`hemacell.job` = 'study'")[-1]
    trained = len(own.runs("tags.`hemacell.job` = 'wbc'"))
    again = own.run("compare", study=run.info.run_id, output=tmp_path / "out")
    pd.testing.assert_frame_equal(table(own, again.info.run_id), table(own, run.info.run_id))
    assert (tmp_path / "out" / "report.md").read_text() and (tmp_path / "out" / "results.csv").is_file()
    assert again.info.status == "FINISHED" and again.data.tags["data.kind"] == "sample"

    found = own.run("compare", filter="params.fraction = '0.1' and params.draw = '0'")
    rows = table(own, found.info.run_id)
    assert set(rows["fraction"]) == {0.1} and set(rows["draw"]) == {0}

    children = {child.info.run_name: child.info.run_id for child in children_of(own, run)}
    pair = f"{children['none 10 % draw 0']},{children['random-prcc 10 % draw 0']}"
    two = own.run("compare", runs=pair)
    answer = own.files(two.info.run_id)["answer.txt"].read_text()
    assert "At 10 %: " in answer and "random-prcc" in answer and "single run" in answer
    # the same arm twice is told apart by something else
    pair = f"{children['none 10 % draw 0']},{children['none 100 % draw 0']}"
    answer = own.files(own.run("compare", runs=pair).info.run_id)["answer.txt"].read_text()
    assert "Compared with none 0.1" in answer and "none 1" in answer
    assert len(own.runs("tags.`hemacell.job` = 'wbc'")) == trained


def test_a_study_that_is_killed_goes_on_and_gives_the_same_table(new_store, tmp_path):
    own = new_store("killed")
    process = start(own, tmp_path)
    while len(own.runs("attributes.status = 'FINISHED' and tags.`hemacell.job` = 'wbc'")) < 2:
        assert process.poll() is None, process.printed()
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (run_id,) = [run.info.run_id for run in own.runs("tags.`hemacell.job` = 'study'")]
    printed = finish(own, tmp_path)
    assert f"resuming run {run_id}, which was stopped" in printed
    run = result(own)
    assert run.info.run_id == run_id and run.info.status == "FINISHED"
    finished = [child for child in children_of(own, run) if child.info.status == "FINISHED"]
    assert len(finished) == 8 and len({child.data.tags["hemacell.key"] for child in finished}) == 8
    assert not own.runs("attributes.status = 'RUNNING'")

    unbroken = new_store("unbroken")
    finish(unbroken, tmp_path)
    pd.testing.assert_frame_equal(table(own, run_id), table(unbroken, result(unbroken).info.run_id))


def test_an_interrupted_study_is_marked_with_its_cells_and_resumed_by_its_id(new_store, tmp_path):
    own = new_store("interrupted")
    given = {"steps": 60, "checkpoint_seconds": 0, "fractions": "0.1"}
    process = start(own, tmp_path, **given)
    while len(own.runs("attributes.status = 'RUNNING' and tags.`hemacell.job` = 'wbc'")) < 2:
        assert process.poll() is None, process.printed()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    run = result(own)
    assert f"go on with resume={run.info.run_id}" in process.printed()
    assert run.info.status == "KILLED" and not own.runs("attributes.status = 'RUNNING'")
    killed = {child.info.run_id for child in children_of(own, run) if child.info.status == "KILLED"}
    assert killed

    # its settings are its own, also how many workers share the cores, which decides the last digits
    printed = finish(own, tmp_path, resume=run.info.run_id, workers=1, steps=5)
    assert "resume: the run goes on with its own settings" in printed
    run = own.client.get_run(run.info.run_id)
    assert run.info.status == "FINISHED" and run.data.params["workers"] == "2"
    children = children_of(own, run)
    assert {child.info.status for child in children} == {"FINISHED"} and len(children) == 4
    assert killed <= {child.info.run_id for child in children}, "runs that were stopped go on, too"


def test_cross_validation_tests_every_image_once(new_store):
    own = new_store("folds")
    done = own.mlflow_run(
        "study", folds=2, draws=5, fractions="1.0", arms="none; slow: encoders=none, learning_rate=0.001", workers=1
    )
    assert done.returncode == 0, done.stderr
    run = result(own)
    assert run.data.params["draws"] == run.data.params["folds"] == "2"
    children = children_of(own, run)
    assert {child.info.run_name for child in children} == {
        f"{arm} 100 % fold {fold} of 2" for arm in ("none", "slow") for fold in range(2)
    }
    tested = {}
    for child in children:
        rows = json.loads(own.files(child.info.run_id)["predictions.json"].read_text())["rows"]
        tested.setdefault(child.info.run_name.split()[0], []).extend(row["sha256"] for row in rows)
    assert len(set(tested["none"])) == len(tested["none"]) and sorted(tested["none"]) == sorted(tested["slow"])
    report = own.files(run.info.run_id)["report.md"].read_text()
    assert f"on {len(tested['none'])} test images" in report and "divided into 2 folds" in report
    assert "intervals and tests are over images" in report.lower()


def test_a_run_that_fails_is_named_and_retried_and_the_others_go_on(new_store, tmp_path):
    own = new_store("failing")
    own.run("camelyon")
    model = own.client.get_model_version_by_alias("hemacell-camelyon-encoder", "sample")
    model_id = model.source.removeprefix("models:/")
    (weights,) = [path for path in (own.folder / "mlruns").rglob("*.safetensors") if model_id in str(path)]
    weights.write_bytes(b"damaged")
    printed = finish(own, tmp_path, code=2, arms="none;camelyon", fractions="1.0", draws=1, workers=1)
    assert "study: camelyon 100 % draw 0 failed (" in printed and "it is tried again later" in printed
    # Python's tracker of semaphores, a process of its own, may warn after it.
    assert any(line.startswith("error: 1 of 2 runs failed twice") for line in printed.splitlines()[-4:])
    run = result(own)
    assert run.info.status == "FAILED"
    failed = [child for child in children_of(own, run) if child.info.status == "FAILED"]
    assert len(failed) == 2 and all("hemacell.error" in child.data.tags for child in failed)
    assert list(table(own, run.info.run_id)["arm"]) == ["none"]
    assert "failures/worker-0.log" in own.files(run.info.run_id)
    assert any(tag.startswith("hemacell.failed.camelyon 100 - draw 0") for tag in run.data.tags)


def test_two_studies_at_once_on_one_store(new_store, tmp_path):
    own = new_store("two")
    processes = [start(own, tmp_path, seed=seed, fractions="0.1", workers=1) for seed in (0, 7)]
    for process in processes:
        assert process.wait() == 0, process.printed()
    runs = own.runs("tags.`hemacell.job` = 'study'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert [len(children_of(own, run)) for run in runs] == [4, 4]


@pytest.mark.parametrize(
    ("job", "given", "words"),
    [
        ("study", {"arms": "none;prc"}, "unknown encoder 'prc'; did you mean prcc?"),
        ("study", {"arms": "none,prcc"}, "none stands alone"),
        ("study", {"baseline": "imagenet"}, "baseline: expected one of the arms (none; random-prcc), found 'imagenet'"),
        ("study", {"resume": "nothing"}, "there is no run 'nothing'"),
        ("study", {"folds": 1}, "folds: expected 2 or more, found 1"),
        ("study", {"folds": 4, "draws": 3}, "every fold is a draw, and all are computed; leave draws"),
        ("study", {"folds": 500, "draws": 5}, "folds=500: expected 500 or more images of every class, found"),
        ("wbc", {"folds": 4, "draw": "official"}, "folds and draw=official: expected one of the two"),
        ("wbc", {"folds": 4, "draw": 4}, "with folds=4 a draw is a fold, 0 to 3, found 4"),
        ("compare", {}, "expected one of study, runs and filter, found none of them"),
        ("compare", {"study": "nothing"}, "there is no run 'nothing'"),
        ("compare", {"runs": "a,a"}, "run a is named twice"),
        ("compare", {"filter": "params.fraction ="}, "MLflow does not understand it"),
        ("compare", {"filter": "params.fraction = '0.77'"}, "expected finished runs of wbc, found none"),
    ],
)
def test_mistakes(store, capsys, job, given, words):
    from importlib import import_module

    from hemacell.cli import main
    from hemacell.config.jobs import JOBS

    arguments = store.command(job, **given)[3:]
    with store.here(), pytest.raises(SystemExit) as end:
        main(JOBS[job], import_module(f"projects.{job}").run, arguments)
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.splitlines()[-1].startswith("error: ") and words in printed.splitlines()[-1], printed
    assert not store.runs("attributes.status = 'RUNNING'")


def test_a_study_is_no_run_of_wbc_and_a_run_of_wbc_is_no_study(study):
    from hemacell.core.errors import UserError

    own, *_ = study
    run = own.runs("tags.`hemacell.job` = 'study'")[-1]
    cell = children_of(own, run)[0]
    with pytest.raises(UserError, match="for single runs type runs=A,B"):
        own.run("compare", study=cell.info.run_id)
    with pytest.raises(UserError, match="expected a finished run of wbc, found a run of study"):
        own.run("compare", runs=f"{run.info.run_id},{cell.info.run_id}")
