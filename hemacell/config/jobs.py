"""Every setting of every job, with its default: the only place to look, and the only place to change."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from hemacell.config.arms import Arm, parse_arms
from hemacell.config.base import example_text
from hemacell.config.groups import (
    AugmentationSettings,
    Baseline,
    BatchSize,
    Brightness,
    CalibrationSettings,
    CheckpointSelection,
    ClassSettings,
    CleaningSettings,
    ComputeSettings,
    CropSettings,
    DecodedSize,
    EncoderSize,
    FindCells,
    FusionSettings,
    ImageSize,
    JobSettings,
    LabelledSettings,
    LearningRate,
    Limit,
    NumEvals,
    OptimiserSettings,
    OtherCrop,
    Precision,
    PretrainingSettings,
    Resamples,
    SiteName,
    Stain,
    StepSettings,
    StepsExponent,
    StepsFactor,
    SyntheticLaboratories,
    SyntheticSettings,
    Threads,
    TrainingSettings,
    ViewSettings,
    WbcFolder,
    WeightDecay,
)
from hemacell.config.laboratories import SITE_NAME, parse_laboratories
from hemacell.config.roles import Display, Execution, Images, Key, Record, Resolved, Role, Varied
from hemacell.core.errors import UserError


class PrccSettings(PretrainingSettings):
    """Pretrain an autoencoder on unlabelled kidney (pRCC) tiles and register its encoder.

    python -m projects.prcc --data DIR
    """

    computed_by = (
        "projects.prcc",
        "hemacell.encoders.autoencoder",
        "hemacell.evaluation.metrics",
        "hemacell.jobs.reconstruction",
        "hemacell.training.loop",
        "hemacell.training.tasks.tiles",
    )

    tile_size: Key[int] = Field(
        128, ge=32, multiple_of=16, description="side of the image that the network gets, in pixels"
    )
    pieces: Key[int] = Field(4, ge=1, description="largest number of pieces that a very large tile is cut into")
    latent_channels: Key[int] = Field(
        36, ge=1, description="channels of the code, at 1/16 of the resolution: 36 are 1/21 of the input"
    )
    l1_loss_weight: Key[float] = Field(0.5, ge=0, description="weight of L1, added to 1 - SSIM in the loss")
    steps_factor: StepsFactor = 40.0
    batch_size: BatchSize = 16
    learning_rate: LearningRate = 2e-3
    weight_decay: WeightDecay = 0.01


class CamelyonSettings(ClassSettings, AugmentationSettings, PretrainingSettings):
    """Fine-tune an ImageNet backbone on lymph node (Camelyon16) patches, normal against tumor, and register it.

    python -m projects.camelyon --data DIR
    """

    computed_by = (
        "projects.camelyon",
        "hemacell.data.decoding",
        "hemacell.encoders.timm_backbone",
        "hemacell.evaluation.metrics",
        "hemacell.training.loop",
        "hemacell.training.tasks.patches",
    )

    arch: Key[str] = Field("tf_efficientnet_lite0", description="a timm model")
    weights: Key[str] = Field("imagenet", description="imagenet, none, or a .safetensors file")
    patch_size: Key[int] = Field(96, ge=32, description="side of the image that the network gets, in pixels")
    steps_factor: StepsFactor = 12.0
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 5e-4
    augment_stain: Stain = 0.2
    augment_brightness: Brightness = 0.1
    checkpoint_selection: CheckpointSelection = "last"


class CellSettings(
    CalibrationSettings,
    FusionSettings,
    SyntheticSettings,
    OptimiserSettings,
    ViewSettings,
    CropSettings,
    ClassSettings,
    TrainingSettings,
):
    """The recipe of a cell classifier, and its images: the same for every arm of a study."""

    wbc_folder: WbcFolder = "WBC_100"
    mask_from: Images[str] = Field(
        "",
        description="another folder in data whose cells and masked copies are added to the training images",
        examples=["WBC_JTSC"],
    )
    pretrain_data: Resolved[str] = Field(
        "",
        description="folder for the pretraining of encoders that are not registered yet; by default data",
        examples=["DIR"],
    )
    pretrain_steps: Resolved[int] = Field(
        0, ge=0, description="training steps of that pretraining; 0 for the number of its own job", examples=[300]
    )
    folds: Images[int] = Field(
        0,
        ge=0,
        description="cross-validation, for few images: splits are pooled, and draw k tests the k-th of so many folds",
        examples=[5],
    )
    external: Resolved[str] = Field(
        "",
        description="other laboratories' images, scored too: NAME:DIR with commas between; NAME stands in the metrics",
        examples=["lisc:DIR"],
    )
    external_labels: Key[tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        (5, 10, 20),
        description="labels of each class there, for which it is measured what they would bring; 0 measures none",
        examples=["5,10"],
    )

    @model_validator(mode="after")
    def _two_folds(self) -> Self:
        if self.folds == 1:
            raise ValueError("folds: expected 2 or more, found 1; type folds=5, or leave it out for one test split")
        return self

    @field_validator("external")
    @classmethod
    def _named_laboratories(cls, text: str) -> str:
        parse_laboratories(text)
        return text

    @property
    def laboratories(self) -> dict[str, str]:
        """Name of each other laboratory -> its folder, as it was typed."""
        return parse_laboratories(self.external)

    def for_pretraining(self, of: type[PretrainingSettings]) -> dict[str, Any]:
        """What is handed to a job that pretrains an encoder which is needed and not registered yet: name -> value.

        All that is inherited, `pretrain_steps`, and `pretrain_data`, whose licence is not that of the cells.
        """
        own: dict[str, Any] = {"steps": self.pretrain_steps}
        if self.pretrain_data:
            own |= {"data": self.pretrain_data, "data_license": ""}
        return self.inherited_by(of) | own


class WbcSettings(CellSettings):
    """Train a white-blood-cell classifier on a share of the labels, with frozen encoders or without, and register it.

    python -m projects.wbc --fraction 0.5 --data DIR
    python -m projects.wbc --fraction 0.01 --encoders none --draw 3
    """

    computed_by = (
        "projects.wbc",
        "hemacell.jobs.classifier",
        "hemacell.classifiers.calibration",
        "hemacell.classifiers.grad_cam",
        "hemacell.classifiers.warm_start",
        "hemacell.data.folds",
        "hemacell.data.subsets",
        "hemacell.encoders.autoencoder",
        "hemacell.encoders.embeddings",
        "hemacell.encoders.measured_cell",
        "hemacell.encoders.timm_backbone",
        "hemacell.evaluation.intervals",
        "hemacell.evaluation.metrics",
        "hemacell.evaluation.saliency",
        "hemacell.evaluation.selective",
        "hemacell.training.loop",
    )

    fraction: Varied[float] = Field(1.0, gt=0, le=1, description="share of the training labels", examples=[0.5])
    labels_per_class: Varied[int | None] = Field(
        None, ge=1, description="labels per class, instead of fraction", examples=[10]
    )
    draw: Varied[Annotated[int, Field(ge=0)] | Literal["official"]] = Field(
        0, description="which images are drawn; official takes the folders WBC_50, WBC_10, WBC_1", examples=[0]
    )
    encoders: Varied[tuple[str, ...]] = Field(
        ("prcc", "camelyon"),
        description="prcc, camelyon, imagenet, morphology, random-prcc, random-imagenet, models:/NAME/VERSION; or none",
        examples=["prcc,camelyon"],
    )
    method: Key[str] = Field(
        "fusion", description="fusion, linear_probe or knn: how the classifier is learnt", examples=["linear_probe"]
    )
    init_from: Key[str] = Field(
        "",
        description="registered classifier whose weights the training starts from",
        examples=["models:/hemacell-wbc/1"],
    )
    checkpoint_selection: CheckpointSelection = "last"
    register_model: Record[bool] = Field(True, description="register the classifier")

    @property
    def prediction_views(self) -> int:
        """`tta_views`, or how many of them pay: beside frozen networks more than one bring nothing on val."""
        alone = self.method != "fusion" or set(self.encoders) <= {"none", "morphology"}
        return self.tta_views or (2 if alone else 1)

    @model_validator(mode="after")
    def _one_amount(self) -> WbcSettings:
        if self.fraction != 1.0 and self.labels_per_class is not None:
            raise ValueError("fraction and labels_per_class: expected one of the two, found both; leave one out")
        if "none" in self.encoders and len(self.encoders) > 1:
            raise ValueError("encoders: none stands alone; type encoders=none, or leave it out of the list")
        if self.folds and self.draw == "official":
            raise ValueError("folds and draw=official: expected one of the two, as a fold is a draw; leave one out")
        if self.folds and int(self.draw) >= self.folds:
            raise ValueError(
                f"draw: with folds={self.folds} a draw is a fold, 0 to {self.folds - 1}, found {self.draw}"
            )
        return self


class StudySettings(CellSettings):
    """Train every arm on every amount of labels and every draw, and compare: does pretraining help, and how sure is it?

    python -m projects.study --data DIR --arms "none;prcc,camelyon" --draws 5 --workers 2
    python -m projects.study --data DIR --dry_run true
    """

    computed_by = (
        "projects.study",
        "hemacell.evaluation.comparison.compare",
    )

    fractions: Key[tuple[Annotated[float, Field(gt=0, le=1)], ...]] = Field(
        (0.01, 0.1, 0.5, 1.0), description="shares of the training labels", examples=["0.01,0.1"]
    )
    arms: Key[str] = Field(
        "none;prcc,camelyon",
        description="lists of encoders or 'name: setting=value, …', separated by semicolons",
        examples=["none;imagenet;prcc,camelyon"],
    )
    baseline: Baseline = ""
    draws: Key[int] = Field(
        5, ge=1, description="draws of training images (at 100 %: seeds), the same for all arms; with folds, these"
    )
    first_draw: Key[int] = Field(0, ge=0, description="number of the first draw")
    step_budget: Key[Literal["study", "full"]] = Field(
        "study", description="default number of training steps: fewer, for a grid of many runs, or that of wbc"
    )
    steps_factor: StepsFactor = 42.0
    steps_exponent: StepsExponent = 0.325
    image_size: ImageSize = 48
    num_evals: NumEvals = 5
    workers: Resolved[int] = Field(
        1, ge=1, description="runs side by side, each in a process with its share of the cores"
    )
    executor: Execution[str] = Field(
        "local", description="where the runs are computed: local, in processes of this machine", examples=["local"]
    )
    dry_run: Execution[bool] = Field(
        False, description="only show the grid, what is finished already, and the time that the rest will take"
    )

    def resolved(self) -> Self:
        """See `Settings.resolved`; the full budget is that of `wbc`, as far as no other is given. A fold is a draw."""
        own = super().resolved()
        if self.folds:
            own = own.model_copy(update={"draws": self.folds})
        if self.step_budget == "study":
            return own
        full, given = WbcSettings(), self.model_fields_set
        names = [name for name in ("steps_factor", "steps_exponent") if name not in given]
        return own.model_copy(update={name: getattr(full, name) for name in names})

    @property
    def arm_list(self) -> list[Arm]:
        """The arms, in the order given.

        Raises:
            ValueError: as `parse_arms`.
        """
        # Fraction, draw and seed vary over the grid, and are the same for all arms; so are the folds.
        allowed = WbcSettings.names(Role.KEY, Role.IMAGES) - {"folds"} | {"encoders"}
        return parse_arms(self.arms, allowed, WbcSettings.model_fields.keys() - allowed)

    @model_validator(mode="after")
    def _grid(self) -> StudySettings:
        try:
            arms = self.arm_list
            for arm in arms:
                WbcSettings.from_strings(dict(arm.overrides))
        except (ValueError, UserError) as error:
            raise ValueError(f"arms: {error}") from None
        names = [arm.name for arm in arms]
        if self.baseline and self.baseline not in names:
            raise ValueError(f"baseline: expected one of the arms ({'; '.join(names)}), found '{self.baseline}'")
        if not self.fractions or len(set(self.fractions)) < len(self.fractions):
            raise ValueError("fractions: expected different shares of the labels, such as 0.01,0.1,0.5,1.0")
        usual = {name: type(self).model_fields[name].default for name in ("draws", "first_draw")}
        if self.folds and (self.draws not in (self.folds, usual["draws"]) or self.first_draw != usual["first_draw"]):
            raise ValueError(
                f"folds={self.folds}: every fold is a draw, and all are computed; leave draws and first_draw out"
            )
        return self


class EvaluateSettings(LabelledSettings, ComputeSettings, StepSettings):
    """Score a registered classifier on a labelled folder, and compare with its scores on its own test images.

    Of whole fields with boxes, it scores how well the cells are found too.

    python -m projects.evaluate --data DIR
    python -m projects.evaluate --model models:/hemacell-wbc/3 --data DIR --crop 1.0
    """

    computed_by = (
        "projects.evaluate",
        "hemacell.classifiers.adaptation",
        "hemacell.classifiers.grad_cam",
        "hemacell.classifiers.folder",
        "hemacell.data.subsets",
        "hemacell.evaluation.metrics",
        "hemacell.evaluation.reference_scores",
        "hemacell.evaluation.saliency",
        "hemacell.evaluation.selective",
        "hemacell.framing.decoding",
        "hemacell.jobs.field_evaluation",
    )

    model: Resolved[str] = Field(
        "hemacell-wbc",
        description="registered classifier; a bare name means its @champion, on the built-in sample its @sample",
        examples=["models:/hemacell-wbc@champion"],
    )
    site: SiteName = ""
    wbc_folder: WbcFolder = "WBC_100"
    split: Key[Literal["test", "val", "train", "all"]] = Field(
        "test", description="which images, where the folder is divided; all takes them together"
    )
    crop: OtherCrop = "auto"
    find_cells: FindCells = False
    adapt: Key[bool] = Field(
        False, description="score the classifier with these images' own statistics too, for which labels are not used"
    )
    resamples: Key[Resamples] = 2000
    precision: Precision = "float32"


class CompareSettings(JobSettings):
    """Compare runs that exist already, and write the report again: trains nothing.

    python -m projects.compare --study RUN_ID
    python -m projects.compare --runs RUN_A,RUN_B
    python -m projects.compare --filter "params.fraction = '0.1'"
    """

    study: Key[tuple[str, ...]] = Field(
        (), description="ids of one or more studies, taken as one grid", examples=["RUN_ID"]
    )
    runs: Key[tuple[str, ...]] = Field(
        (), description="ids of runs of wbc; two give one paired comparison", examples=["A,B"]
    )
    filter: Key[str] = Field(
        "",
        description="a search over the finished runs of wbc, as MLflow writes it",
        examples=["params.fraction = '0.1'"],
    )
    baseline: Baseline = ""
    resamples: Key[Resamples] = 2000
    permutations: Key[int] = Field(5000, ge=500, description="permutations of the test")
    output: Display[str] = Field("", description="folder that the report is written to as well", examples=["DIR"])

    @model_validator(mode="after")
    def _one_source(self) -> CompareSettings:
        given = [name for name in ("study", "runs", "filter") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"expected one of study, runs and filter, found {' and '.join(given) or 'none of them'}; "
                "type for example study=RUN_ID"
            )
        if len(self.runs) == 1:
            raise ValueError(f"runs: expected two or more ids with a comma between, found '{self.runs[0]}'")
        return self


class PredictSettings(ComputeSettings, JobSettings):
    """Classify images with a registered classifier: a folder, a table of paths or one file -> a table of predictions.

    python -m projects.predict --images DIR --output cells.csv
    python -m projects.predict --images cells.parquet --output predictions.parquet --differential true
    python -m projects.predict --images FIELDS --find_cells true --output cells.csv
    """

    computed_by = ("hemacell.prediction.predict_images", "hemacell.prediction.search_fields")

    model: Resolved[str] = Field(
        "models:/hemacell-wbc@champion",
        description="registered classifier; every row names the version that was used",
    )
    images: Resolved[str] = Field(
        "",
        description="folder, searched at any depth; .csv or .parquet file with a column image or path; or one image",
        examples=["DIR"],
    )
    output: Display[str] = Field("", description="file to write, .csv or .parquet", examples=["cells.csv"])
    site: SiteName = ""
    crop: OtherCrop = "auto"
    precision: Key[Literal["float32", "bf16"]] = Field(
        "float32",
        description="float32 agrees to 1e-5 everywhere; bf16 is faster, and its probabilities differ by 0.0003 on "
        "average and up to 0.05",
    )
    batch: Key[int] = Field(64, ge=1, description="images per batch")
    threads: Threads = 0
    find_cells: FindCells = False
    drawn_fields: Display[int] = Field(
        60, ge=0, description="with find_cells: fields that are drawn with boxes and classes, evenly spread"
    )
    differential: Display[bool] = Field(
        False, description="count the classes of each smear (first-level folder, or column smear), as table and page"
    )
    resamples: Display[Resamples] = 2000
    seed: Display[int] = Field(0, ge=0, description="seed of these resamples")
    explain: Display[int] = Field(
        0,
        ge=0,
        le=96,
        description="images shown in a picture with a saliency map, those for review first",
        examples=[24],
    )
    force: Execution[bool] = Field(False, description="run again, and overwrite an output that is something else")

    @model_validator(mode="after")
    def _both_ends(self) -> PredictSettings:
        for name in ("images", "output"):
            if not getattr(self, name).strip():
                example = example_text(type(self).model_fields[name])
                raise ValueError(f"{name}: expected a name, found nothing; type for example {name}={example}")
        return self


class AdaptSettings(ComputeSettings, JobSettings):
    """Adapt a registered classifier to another laboratory by pictures of it, with or without labels, and register it.

    python -m projects.adapt --images DIR --site lisc
    python -m projects.adapt --images DIR --labels labelled.csv --site lisc
    python -m projects.adapt --images FIELDS --find_cells true --site lisc
    """

    computed_by = (
        "projects.adapt",
        "hemacell.classifiers.adaptation",
        "hemacell.classifiers.site_head",
        "hemacell.jobs.adapt",
        "hemacell.framing.decoding",
        "hemacell.prediction.search_fields",
    )

    model: Resolved[str] = Field(
        "models:/hemacell-wbc@champion",
        description="registered classifier to start from; it stays as it is, and its champion the champion",
    )
    images: Resolved[str] = Field(
        "",
        description="pictures of the laboratory: a folder, searched at any depth, a .zip of one, or a table of paths",
        examples=["DIR"],
    )
    labels: Resolved[str] = Field(
        "",
        description="table with columns path or sha256, and label (- for a cell of no class), of some of the images",
        examples=["labelled.csv"],
    )
    site: Key[str] = Field(
        "", description="name of the laboratory: the version gets the alias site-NAME", examples=["lisc"]
    )
    find_cells: FindCells = False
    crop: OtherCrop = "auto"
    precision: Precision = "float32"
    max_bad: Key[float] = Field(0.01, ge=0, le=1, description="share of images that may be unreadable")
    resamples: Key[Resamples] = 2000
    threads: Threads = 0
    force: Execution[bool] = Field(
        False, description="adapt again, and give the alias of a site that exists to the new version"
    )

    @model_validator(mode="after")
    def _all_named(self) -> AdaptSettings:
        for name in ("images", "site"):
            if not getattr(self, name).strip():
                example = example_text(type(self).model_fields[name])
                raise ValueError(f"{name}: expected a name, found nothing; type for example {name}={example}")
        if self.find_cells and self.labels:
            raise ValueError(
                "labels: expected none with find_cells=true, as cells of fields have no names yet; leave labels out, "
                "or cut the labelled cells out of their fields"
            )
        if not SITE_NAME.fullmatch(self.site):
            raise ValueError(
                f"site: expected at most 40 lower-case letters, digits, '-' and '_', found '{self.site}'; "
                "type for example site=lisc"
            )
        return self


class ExportSettings(LabelledSettings, StepSettings):
    """Write a registered classifier as ONNX, check it against the classifier, and register it too.

    python -m projects.export --output cells.onnx
    python -m projects.export --model models:/hemacell-wbc/3 --data DIR
    """

    computed_by = (
        "projects.export",
        "hemacell.classifiers.folder",
        "hemacell.classifiers.onnx_file",
        "hemacell.data.subsets",
        "hemacell.framing.decoding",
    )

    model: Resolved[str] = Field(
        "models:/hemacell-wbc@champion",
        description="registered classifier; a bare name means its @champion, on the built-in sample its @sample",
    )
    wbc_folder: WbcFolder = "WBC_100"
    limit: Limit = 100
    output: Display[str] = Field("", description="file to write as well, .onnx", examples=["cells.onnx"])
    force: Execution[bool] = Field(False, description="run again, and overwrite an output that is something else")


class AuditSettings(CleaningSettings, ComputeSettings, StepSettings):
    """Say what is wrong with images before any training: copies, doubtful labels, odd files, splits that differ.

    python -m projects.audit --data DIR
    python -m projects.audit --data DIR --model models:/hemacell-wbc@champion --output DIR
    """

    computed_by = (
        "projects.audit",
        "hemacell.jobs.audit",
        "hemacell.reporting.audit_page",
    )

    max_bad: Key[float] = Field(1.0, ge=0, le=1, description="share of images that may be unreadable")
    images: Images[Literal["wbc", "camelyon", "prcc"]] = Field(
        "wbc", description="which images in data: labelled cells, labelled patches, or tiles without labels"
    )
    wbc_folder: WbcFolder = "WBC_100"
    model: Resolved[str] = Field(
        "",
        description="registered classifier: how far the images lie from what it knows",
        examples=["models:/hemacell-wbc@champion"],
    )
    encoder: Key[str] = Field(
        "imagenet", description="frozen encoder whose features the doubtful labels are found with", examples=["prcc"]
    )
    decoded_size: DecodedSize = 192
    encoder_size: EncoderSize = 96
    crop: Key[float] = Field(
        0.55, gt=0, le=1, description="side of the central part of the image that the encoder gets, in its sides"
    )
    pictures: Key[int] = Field(48, ge=1, le=500, description="pictures per gallery of the page, at most")
    seed: Key[int] = Field(0, ge=0, description="seed of the folds")
    output: Display[str] = Field("", description="folder that the page is written to as well", examples=["DIR"])


class MainSettings(TrainingSettings):
    """Run everything, small, on the built-in sample: both pretrainings, then the classifier with and without them.

    python -m projects.main
    """

    computed_by = (
        "projects.main",
        *PrccSettings.computed_by,
        *CamelyonSettings.computed_by,
        *WbcSettings.computed_by,
    )

    fraction: Varied[float] = Field(0.5, gt=0, le=1, description="share of the training labels")
    prcc_steps: Key[int] = Field(60, ge=1, description="steps of the autoencoder")
    camelyon_steps: Key[int] = Field(45, ge=1, description="steps of the patch classifier")
    wbc_steps: Key[int] = Field(90, ge=1, description="steps of each cell classifier")
    synthetic_laboratories: SyntheticLaboratories = 4


JOBS: dict[str, type[JobSettings]] = {
    "main": MainSettings,
    "prcc": PrccSettings,
    "camelyon": CamelyonSettings,
    "wbc": WbcSettings,
    "study": StudySettings,
    "compare": CompareSettings,
    "predict": PredictSettings,
    "evaluate": EvaluateSettings,
    "export": ExportSettings,
    "audit": AuditSettings,
    "adapt": AdaptSettings,
}
