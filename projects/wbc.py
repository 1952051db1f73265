"""The classifier of five white blood cells: trained on a share of the labels, with frozen encoders or without.

    mlflow run . -e wbc -P fraction=0.5 -P data=DIR
    mlflow run . -e wbc -P fraction=0.01 -P encoders=none -P draw=3 -P data=DIR

An encoder that is not registered yet is pretrained first, as a child run. Every arm of one draw sees the same images
and makes the same number of steps; `benchmarks/accuracy.py` prints the scores to expect.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import WbcSettings

if TYPE_CHECKING:
    from hemacell.jobs.wbc_inputs import Images

logger = logging.getLogger(__name__)

CLASSIFIER = "hemacell-wbc"


def run(settings: WbcSettings, images: Images | None = None) -> str:
    """Train, test, log and register; returns the id of the run that holds the result."""
    from hemacell.jobs.context import start_job
    from hemacell.jobs.pretraining import check_pretraining, missing_encoders, pretrain
    from hemacell.jobs.wbc_inputs import draw_images, read_images, run_key
    from hemacell.tracking.registry.encoders import resolve_encoders
    from hemacell.tracking.registry.lookup import resolve
    from hemacell.tracking.runs.existing import encoders_of

    job = start_job("wbc", settings)
    settings = job.settings
    start = resolve(settings.init_from, job.source.kind) if settings.init_from else None
    used = encoders_of(settings.resume)
    encoders = resolve_encoders(settings.encoders, job.source.kind, job.cache, settings.seed, used)
    missing = missing_encoders(encoders)
    check_pretraining(job, missing)
    images = images or read_images(settings, job.source.root)
    manifest = draw_images(settings, images, job.source.root)

    key = "" if missing else run_key(job, manifest, images.external, encoders, start)
    done = job.finished(key) if key else None
    if done:
        return done
    with job.open(manifest, key, fraction="" if settings.labels_per_class else settings.fraction) as run:
        if missing:
            used = pretrain(job, missing)
            encoders = resolve_encoders(settings.encoders, job.source.kind, job.cache, settings.seed, used)
            run.tags({"hemacell.key": run_key(job, manifest, images.external, encoders, start)})
        return _train(job, run, encoders, start, images.everything, manifest, images.external)


def _train(job, run, specs, start, everything, manifest, external) -> str:
    from typing import cast

    import torch

    from hemacell.classifiers.calibration import calibrated, calibration_split
    from hemacell.classifiers.fusion import FusedClassifier, Projection
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.classifiers.model import ClassifierConfig, Predictor, build_network, save_folder
    from hemacell.classifiers.warm_start import warm_start
    from hemacell.core.progress import Progress
    from hemacell.core.threads import set_threads
    from hemacell.data import decoding
    from hemacell.data.augmentation import AugmentationConfig
    from hemacell.data.balance import balanced, class_weights
    from hemacell.encoders.embeddings import StoredViews
    from hemacell.evaluation.metrics import classification_metrics
    from hemacell.evaluation.paired import right_by_image
    from hemacell.jobs.data_checks import log_channel_stats, report_problems, report_unreadable
    from hemacell.jobs.rescoring import right_of_model
    from hemacell.jobs.training import train
    from hemacell.reporting import model_card
    from hemacell.reporting.model_card import Score
    from hemacell.reporting.tables import score_table
    from hemacell.tracking import registry
    from hemacell.tracking.registry.encoders import load_encoders
    from hemacell.tracking.runs.reliability import (
        log_calibration,
        log_intervals,
        log_ood_images,
        log_selective_prediction,
        reliability_in_words,
    )
    from hemacell.tracking.runs.results import log_classification
    from hemacell.training.loop import make_fabric
    from hemacell.training.tasks.cells import CellTask, cell_images, training_augmentation

    settings = job.settings
    set_threads(job.threads)
    fabric = make_fabric(settings.device, settings.precision)

    draw = manifest.part("train")
    labels = int((draw.table["source"] != "masked").sum())
    run.tags({**report_problems(everything), "draw.digest": draw.digest, "draw.labels": labels})
    run.model_inputs([spec.uri for spec in specs if spec.model])
    run.tags({f"encoder.{spec.slug}": spec.uri for spec in specs} | ({"init_from": start.uri} if start else {}))
    run.data_input(manifest.digest32, manifest.name, str(job.source.root), manifest.counts(), "training")

    cells = decoding.decode(
        everything, settings.decoded_size, job.cache, settings.max_bad, progress=Progress("decoding")
    )
    report_unreadable(run, cells.bad)
    readable = manifest.readable(cells.manifest)
    parts = {split: readable.part(split) for split in ("train", "val", "test")}
    divided = calibration_split(parts["val"].labels)  # where val is too small for that, it is said before the training
    encoders = load_encoders(specs, job.cache, settings.encoder_size, settings.crop)
    encoders = [encoder.to(fabric.device) for encoder in encoders]

    # each stored view is embedded once, and read back ever after
    views = settings.stored_views(len(parts["train"]))
    stored = StoredViews(views, augmented=True, settings=AugmentationConfig(**settings.augmentation))
    turns = StoredViews(settings.tta_views, augmented=False)

    def watched(split):
        return lambda what: Progress(f"embedding {what} {split}", "views")

    images = {
        split: cell_images(
            cells,
            part,
            encoders,
            stored if split == "train" else turns,
            job.cache,
            settings.precision,
            watched(split),
        )
        for split, part in parts.items()
    }
    if settings.channel_stats:
        log_channel_stats(run, cells.array, images["train"].rows)
    chosen, weights = balanced(parts["train"].labels, settings.balance)
    images["train"] = images["train"].select(chosen)

    config = ClassifierConfig(
        classes=manifest.classes,
        decoded_size=settings.decoded_size,
        size=settings.image_size,
        crop=settings.crop,
        views=settings.tta_views,
        temperature=1.0,
        confidence_threshold=0.0,
        encoders=tuple(spec.slug for spec in specs),
    )
    torch.manual_seed(settings.seed)
    network = build_network(config, [encoder.width for encoder in encoders], **settings.dropouts)
    for projection, embeddings in zip(network.projections, images["train"].embeddings, strict=True):
        cast(Projection, projection).standardise(torch.from_numpy(embeddings).flatten(0, 1))
    if start:
        warm_start(network, registry.fetch(start, job.cache), set(parts["train"].table["sha256"]))
    run.text(
        f"{network}\n\ntrained: {sum(p.numel() for p in network.parameters()):,} parameters\n", "model_summary.txt"
    )

    steps = settings.training_steps(len(parts["train"]))
    task = CellTask(
        cells.array,
        images["train"],
        images["val"],
        training_augmentation(parts["train"].select(chosen), stored),
        size=settings.image_size,
        crop=settings.crop,
        batch_size=settings.batch_size,
        seed=settings.seed,
        jitter=AugmentationConfig(**settings.jitter),
        label_smoothing=settings.label_smoothing,
        class_weights=class_weights(parts["train"].labels, len(manifest.classes)) if settings.class_weights else None,
        sampler_weights=weights,
        auxiliary_loss_weight=settings.auxiliary_loss_weight,
        precision=settings.precision,
        device=fabric.device,
    )
    trained = train(job, run, task, network, steps)
    run.metrics({"train_images": len(parts["train"])}, steps)

    network = cast(FusedClassifier, trained.network)

    # val calibrates; then test is looked at, once
    found = calibrated(
        task, network, config, images["val"], divided, settings.target_risk, settings.ood_false_positive_rate
    )
    config = found.config
    val_scores = classification_metrics(parts["val"].labels, found.val.probabilities, manifest.classes)
    run.metrics({f"calibrated_val/{name}": value for name, value in val_scores.items()}, steps)
    log_calibration(run, found.promised, config, steps)

    pixels = cells.array[images["test"].rows]
    labels, tested = parts["test"].labels, found.answers(images["test"])
    explain = GradCAM.of(network, config)
    scores = {"test": log_classification(run, parts["test"], tested.probabilities, pixels, step=steps, explain=explain)}
    intervals = log_intervals(run, labels, tested.probabilities, manifest.classes, step=steps)
    kept, relied = log_selective_prediction(run, labels, tested, config, step=steps)
    predictor = Predictor(config, network, encoders, found.reference, settings.precision)
    if external is not None:
        run.data_input(external.digest32, external.name, str(external.root), external.counts(), "external")
        scores["external"] = _score_external(job, run, external, predictor, steps)

    with registry.scratch() as folder:
        learnt_from = sorted(set(parts["train"].table["sha256"]))
        save_folder(folder, config, network, encoders, found.reference, learnt_from)
        run.artifact(folder / "classifier.json")
        if settings.register_model:
            flagged = log_ood_images(run, predictor, pixels, tested.distance, steps)
            registry.register(
                folder,
                CLASSIFIER,
                run=run,
                model="classifier",
                kind=job.source.kind,
                trial=settings.limit > 0,
                val_score=val_scores["macro_f1"],
                val_images=right_by_image(parts["val"], found.val.probabilities),
                classes=manifest.classes,
                cache=job.cache,
                tags={"fraction": settings.fraction, "draw": settings.draw, "encoders": settings.encoders},
                card=model_card.classifier_card(
                    "White blood cell classifier",
                    job,
                    readable,
                    {f"test/{name}": Score(value, *intervals.get(name, ())) for name, value in scores["test"].items()},
                    {spec.name: spec.uri for spec in specs},
                    reliability_in_words(config, found.promised, kept, scores["test"] | relied, flagged),
                ),
                rescore=lambda champion: right_of_model(champion, everything, parts["val"], job.cache, settings),
            )
    job.cleanup(run)
    print(score_table(list(scores.items()), ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece"]))
    logger.info(f"wbc: accepted without review from {config.confidence_threshold:.2f} on; on test {kept.in_words()}")
    logger.info(
        f"wbc: {len(parts['train'])} training images, {steps} steps in {trained.seconds:.0f} s; run {run.run_id}"
    )
    return run.run_id


def _score_external(job, run, external, predictor, steps) -> dict[str, float]:
    """The classifier on another laboratory's images, seen at their own field."""
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.core.progress import Progress
    from hemacell.data import decoding
    from hemacell.tracking.runs.reliability import log_selective_prediction
    from hemacell.tracking.runs.results import log_classification

    settings = job.settings
    decoded = decoding.decode(
        external, settings.decoded_size, job.cache, settings.max_bad, progress=Progress("decoding")
    )
    looking = predictor.with_crop(settings.external_crop or settings.crop)
    answers = looking.predict_pixels(decoded.array)
    log_selective_prediction(run, decoded.manifest.labels, answers, looking.config, "external", steps)
    explain = GradCAM.of(looking.network, looking.config)
    return log_classification(run, decoded.manifest, answers.probabilities, decoded.array, "external", steps, explain)


if __name__ == "__main__":
    main(WbcSettings, run)
