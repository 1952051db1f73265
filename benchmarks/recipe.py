"""How the recipe is chosen: val scores of several peak learning rates, with as much care for `none` as for the others.

    python benchmarks/recipe.py --data DIR [--rates 0.001,0.002,0.003,0.005] [--arms "none;imagenet"]
                                [--fractions 0.01,0.1] [--draws 2] [--workers 2]

Trains cells as a study does, on draws from 100 on, which no study reports, and prints macro-F1 and mean negative
log-likelihood on the **val** images: test is not looked at here. Cells that were computed before are read back.
"""

import argparse
import statistics
from dataclasses import replace

from hemacell.tracking.encoders import choose
from hemacell.tracking.job import begin
from hemacell.tracking.runs import scores_of
from projects.grid import compute, plan
from projects.settings import StudySettings
from projects.wbc import read_images

FIRST_DRAW = 100


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--rates", default="0.001,0.002,0.003,0.005")
    parser.add_argument("--arms", default="none;imagenet")
    parser.add_argument("--fractions", default="0.01,0.1")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    images = None
    for rate in asked.rates.split(","):
        settings = StudySettings.from_strings(
            {
                "data": asked.data,
                "arms": asked.arms,
                "fractions": asked.fractions,
                "draws": str(asked.draws),
                "first_draw": str(FIRST_DRAW),
                "steps": str(asked.steps),
                "workers": str(asked.workers),
                "learning_rate": rate,
                "experiment": "hemacell-recipe",
                "run_name": f"learning_rate {rate}",
            }
        )
        job = begin("recipe", settings)
        job = replace(job, threads=max(1, job.threads // settings.workers))
        images = images or read_images(settings, job.source.root)
        choices = {arm: choose(arm, job.source.kind) for arm in settings.arm_list}
        cells = plan(job, images, choices)
        with job.open(images.everything, "") as parent:
            runs, failed = compute(job, parent, cells)
        for line in failed:
            print(f"failed: {line}")
        for fraction in sorted(settings.fractions):
            for arm in map(",".join, settings.arm_list):
                own = [cell for cell in cells if (cell.arm, cell.fraction) == (arm, fraction) and cell.name in runs]
                scores = [scores_of(runs[cell.name]) for cell in own]
                f1 = [score["calibrated_val/macro_f1"] for score in scores]
                nll = [score["calibrated_val/nll"] for score in scores]
                print(
                    f"learning_rate {rate:<6} {fraction * 100:>5g} %  {arm:<20} val macro-F1 {statistics.mean(f1):.4f} "
                    f"({', '.join(f'{value:.3f}' for value in f1)})  nll {statistics.mean(nll):.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
