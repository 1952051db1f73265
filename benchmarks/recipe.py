"""How the recipe is chosen: val scores of several recipes, with as much care for `none` as for the others.

    python benchmarks/recipe.py --data DIR --arms "none;imagenet" learning_rate=0.003 batch_size=32,steps=180 ...

Trains cells as a study does, on draws from 100 on, which no study reports, and prints macro-F1 and mean negative
log-likelihood on the **val** images: test is not looked at here. Cells that were computed before are read back.
"""

import argparse
import statistics
from dataclasses import replace

from hemacell.config.jobs import StudySettings
from hemacell.jobs.context import start_job
from hemacell.tracking.registry.encoders import resolve_encoders
from hemacell.tracking.runs.existing import scores_of
from projects.grid import compute, plan
from projects.wbc import read_images

FIRST_DRAW = 100


def main() -> None:
    """Train, and print a line a recipe, arm and fraction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", help="settings with commas between, such as batch_size=32,steps=180")
    parser.add_argument("--data", required=True)
    parser.add_argument("--arms", default="none;imagenet")
    parser.add_argument("--fractions", default="0.01")
    parser.add_argument("--draws", default="3")
    parser.add_argument("--workers", default="2")
    asked = parser.parse_args()
    images = None
    for recipe in asked.recipes:
        own = dict(pair.split("=", 1) for pair in recipe.split(","))
        shared = {name: getattr(asked, name) for name in ("data", "arms", "fractions", "draws", "workers")}
        told = {"first_draw": str(FIRST_DRAW), "experiment": "hemacell-recipe", "run_name": recipe}
        job = start_job("recipe", StudySettings.from_strings({**shared, **told, **own}))
        settings = job.settings
        job = replace(job, threads=max(1, job.threads // settings.workers))
        images = images or read_images(settings, job.source.root)
        encoders = {arm: resolve_encoders(arm, job.source.kind, job.cache) for arm in settings.arm_list}
        cells = plan(job, images, encoders)
        with job.open(images.everything, "") as parent:
            runs, failed = compute(job, parent, cells)
        for line in failed:
            print(f"failed: {line}")
        for fraction in sorted(settings.fractions):
            for arm in map(",".join, settings.arm_list):
                done = [cell for cell in cells if (cell.arm, cell.fraction) == (arm, fraction) and cell.name in runs]
                scores = [scores_of(runs[cell.name]) for cell in done]
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
