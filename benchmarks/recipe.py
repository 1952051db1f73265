"""How the recipe is chosen: val scores of several recipes, with as much care for `none` as for the others.

    python benchmarks/recipe.py --data DIR --arms "none;imagenet" learning_rate=0.003 batch_size=32,steps=180 ...

Trains as a study does, on draws from 100 on, which no study reports, and prints macro-F1 and mean negative
log-likelihood on the **val** images: the test images are not used here. Runs that were computed before are read back.
"""

import argparse
import statistics

from hemacell.config.jobs import StudySettings
from hemacell.jobs.study import plan, start_study
from hemacell.jobs.study_workers import compute
from hemacell.tracking.runs.existing import existing_run
from projects import wbc

FIRST_DRAW = 100


def main() -> None:
    """Train, and print a line for each recipe, arm and fraction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", help="settings with commas between, such as batch_size=32,steps=180")
    parser.add_argument("--data", required=True)
    parser.add_argument("--arms", default="none;imagenet")
    parser.add_argument("--fractions", default="0.01")
    parser.add_argument("--draws", default="3")
    parser.add_argument("--workers", default="2")
    asked = parser.parse_args()
    for recipe in asked.recipes:
        own = dict(pair.split("=", 1) for pair in recipe.split(","))
        shared = {name: getattr(asked, name) for name in ("data", "arms", "fractions", "draws", "workers")}
        given = {"first_draw": str(FIRST_DRAW), "experiment": "hemacell-recipe", "run_name": recipe}
        study = plan(start_study(StudySettings.from_strings({**shared, **given, **own}), "recipe"))
        with study.job.open(study.images.everything, "") as parent:
            computed = compute(study, parent, wbc.run)
        for name, error in computed.failed.items():
            print(f"failed: {name}: {error}")
        for fraction in sorted(study.job.settings.fractions):
            for arm in [arm.name for arm in study.arms]:
                own_runs = [entry for entry in computed.listing if (entry["arm"], entry["fraction"]) == (arm, fraction)]
                scores = [existing_run(entry["run_id"]).data.metrics for entry in own_runs]
                f1 = [score["calibrated_val/macro_f1"] for score in scores]
                nll = [score["calibrated_val/nll"] for score in scores]
                seconds = statistics.median(score["train_seconds"] for score in scores)
                print(
                    f"{recipe:<45} {fraction * 100:>4g} %  {arm:<18} val macro-F1 {statistics.mean(f1):.4f} "
                    f"({' '.join(f'{value:.3f}' for value in f1)})  nll {statistics.mean(nll):.4f}  {seconds:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
