"""Everything, small, on the built-in sample: both pretrainings, then the cell classifier with and without them.

    mlflow run .          (or: make demo)

Takes two to three minutes on two cores. Its scores show that the parts work together; they are no result.
"""

from projects.cli import main
from projects.settings import CamelyonSettings, MainSettings, PrccSettings, WbcSettings


def run(settings: MainSettings) -> str:
    """Run the jobs one after the other; returns the id of the run that they are children of."""
    from hemacell.data.layout import wbc_manifest
    from hemacell.tracking.job import begin, say
    from hemacell.tracking.results import score_table
    from hemacell.tracking.runs import how_to_look, scores_of
    from projects import camelyon, prcc, wbc

    job = begin("main", settings)
    passed_on = (
        "data",
        "limit",
        "max_bad",
        "seed",
        "device",
        "precision",
        "threads",
        "reports",
        "checkpoint_seconds",
        "force",
    )
    shared = {name: getattr(settings, name) for name in passed_on}
    with job.open(wbc_manifest(job.source.root), key="") as parent:
        say("1/4 pretraining on kidney tiles (prcc)")
        prcc.run(PrccSettings.checked(**shared, steps=settings.prcc_steps))
        say("2/4 pretraining on lymph node patches (camelyon)")
        camelyon.run(CamelyonSettings.checked(**shared, steps=settings.camelyon_steps))
        arms = {"prcc,camelyon": ("prcc", "camelyon"), "none": ("none",)}
        finished = {}
        for number, (name, encoders) in enumerate(arms.items(), start=3):
            say(f"{number}/4 white blood cells, {settings.fraction:.0%} of the labels, encoders={name}")
            cells = WbcSettings.checked(
                **shared,
                fraction=settings.fraction,
                steps=settings.wbc_steps,
                encoders=encoders,
                run_name=f"wbc {name}",
            )
            finished[name] = scores_of(wbc.run(cells))
    print(f"\ntest scores, {settings.fraction:.0%} of the labels")
    print(
        score_table(
            [(f"encoders={name}", scores) for name, scores in finished.items()],
            ["test/accuracy", "test/macro_f1", "test/auroc"],
        )
    )
    print(f"\n{how_to_look()}")
    return parent.run_id


if __name__ == "__main__":
    main(MainSettings, run)
