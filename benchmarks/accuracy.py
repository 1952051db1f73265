"""What is claimed about accuracy and training time: the table of the README, computed with the jobs themselves.

    python benchmarks/accuracy.py --data DIR [--draws 3] [--fractions 0.01,0.1,0.5,1.0] [--arms "prcc,camelyon;none"]

Pretrains the two encoders where they are not registered yet, then trains every arm on every draw and fraction, and
prints test scores as mean and standard deviation over the draws (at 100 % all draws are the same images: there the
seed differs) with the minutes of training (median). Runs that were computed before are read back, so that it can be
stopped and started again. About an hour and a half on two cores.
"""

import argparse
import resource
import statistics

from hemacell.config.jobs import CamelyonSettings, PrccSettings, WbcSettings
from hemacell.core.cache import cache_dir
from hemacell.data.sources.resolve import resolve_data
from hemacell.encoders.registry import ENCODERS
from hemacell.tracking.registry.lookup import find
from hemacell.tracking.runs.existing import existing_run
from projects import camelyon, prcc, wbc


def main() -> None:
    """Run the grid and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--fractions", default="0.01,0.1,0.5,1.0")
    parser.add_argument("--arms", default="prcc,camelyon;none")
    asked = parser.parse_args()
    kind = resolve_data(asked.data, cache_dir()).kind

    pretrained = {}
    for name, pretrain in (
        ("prcc", lambda: prcc.run(PrccSettings.checked(data=asked.data))),
        ("camelyon", lambda: camelyon.run(CamelyonSettings.checked(data=asked.data))),
    ):
        model = find(ENCODERS[name].registered_name, kind)
        pretrained[name] = existing_run(model.run_id if model else pretrain()).data.metrics

    fractions, arms = [float(text) for text in asked.fractions.split(",")], asked.arms.split(";")
    runs: dict[tuple[str, float], list[dict[str, float]]] = {}
    for draw in range(asked.draws):
        for fraction in fractions:
            for arm in arms:
                settings = WbcSettings.checked(
                    data=asked.data,
                    fraction=fraction,
                    encoders=tuple(arm.split(",")),
                    draw=draw,
                    seed=draw,
                    register_model=False,
                    num_evals=5,
                    run_name=f"{arm} {fraction:g} draw {draw}",
                )
                runs.setdefault((arm, fraction), []).append(existing_run(wbc.run(settings)).data.metrics)
                _print(pretrained, runs, fractions, arms)


def _print(
    pretrained: dict[str, dict[str, float]],
    runs: dict[tuple[str, float], list[dict[str, float]]],
    fractions: list[float],
    arms: list[str],
) -> None:
    tiles, patches = pretrained["prcc"], pretrained["camelyon"]
    print(
        f"\nprcc: test SSIM {tiles['test/ssim']:.3f} (linear code {tiles['test/ssim_linear']:.3f}), "
        f"{tiles['train_seconds'] / 60:.1f} min of training"
    )
    print(
        f"camelyon: test accuracy {patches['test/accuracy']:.3f}, AUROC {patches['test/auroc']:.3f}, "
        f"{patches['train_seconds'] / 60:.1f} min of training\n"
    )
    print("| | " + " | ".join(f"{fraction:.0%}" for fraction in fractions) + " |")
    print("| --- |" + " --- |" * len(fractions))
    rows = {"macro-F1": "test/macro_f1", "accuracy": "test/accuracy", "minutes": "train_seconds"}
    for title, metric in rows.items():
        for arm in arms:
            texts = [
                _cell(metric, [scores[metric] for scores in runs.get((arm, fraction), [])]) for fraction in fractions
            ]
            print(f"| {title}, `encoders={arm}` | " + " | ".join(texts) + " |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(f"(draws so far: {max(len(scores) for scores in runs.values())}; peak memory {peak:.1f} GiB)", flush=True)


def _cell(metric: str, values: list[float]) -> str:
    if not values:
        return "-"
    if metric == "train_seconds":
        return f"{statistics.median(values) / 60:.1f}"  # what else the machine did must not count
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
