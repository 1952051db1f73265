"""Every setting of every job, with its default: the one place to look, and the one place to change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hemacell.config.arms import Arm, parse_arms
from hemacell.config.base import JobSettings, example_text
from hemacell.core.errors import UserError

# What several jobs have, described once; each job says its own default.
Limit = Annotated[int, Field(ge=0, description="use only so many images, for a quick try; 0 for all", examples=[100])]
MaxBad = Annotated[float, Field(ge=0, le=1, description="share of images that may be unreadable")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field(description="where to compute")]
Precision = Annotated[Literal["bf16", "float32"], Field(description="bf16 is two to three times as fast")]
Threads = Annotated[
    int, Field(ge=0, description="processor threads; 0 for one a core. Another number gives other last digits")
]
Force = Annotated[bool, Field(description="run again even where the same run has finished before")]
Experiment = Annotated[
    str, Field(description="MLflow experiment; one named after the job without it", examples=["NAME"])
]
RunName = Annotated[str, Field(description="name of the run", examples=["NAME"])]
OtherCrop = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="side of the part around the centre that is looked at, in sides of the image; 0 for the model's",
        examples=[1.0],
    ),
]
Baseline = Annotated[
    str, Field(description="the arm that the others are compared with; none, or the first arm, without it")
]


class CommonSettings(JobSettings):
    """What all jobs have in common."""

    data: str = Field(
        "",
        description="folder with the course layout; without it $HEMACELL_DATA, else the built-in sample",
        examples=["DIR"],
    )
    limit: Limit = 0
    max_bad: MaxBad = 0.01
    seed: int = Field(0, ge=0, description="picks everything random but the draw")
    device: Device = "auto"
    precision: Precision = "bf16"
    threads: Threads = 0
    data_license: str = Field("", description="licence of the images, for the model's card", examples=["CC BY 4.0"])
    channel_stats: bool = Field(False, description="log the training images' channel means and deviations, in 0 to 1")
    num_evals: int = Field(10, ge=1, description="how often the val metrics are computed and logged")
    checkpoint_seconds: float = Field(30.0, ge=0, description="time between two checkpoints")
    resume: str = Field(
        "", description="id of a killed run to continue; its settings are taken from it", examples=["RUN_ID"]
    )
    force: Force = False
    experiment: Experiment = ""
    run_name: RunName = ""


class PrccSettings(CommonSettings):
    """Pretrain an autoencoder on unlabelled kidney (pRCC) tiles and register its encoder.

    python -m projects.prcc --data DIR
    """

    tile_size: int = Field(128, ge=32, multiple_of=16, description="side of what the network sees, in pixels")
    pieces: int = Field(4, ge=1, description="pieces that a very large tile is cut into, at most")
    latent_channels: int = Field(
        36, ge=1, description="channels of the code, at 1/16 of the resolution: 36 are 1/21 of the input"
    )
    steps: int = Field(
        0, ge=0, description="training steps; 0 for 40 times the root of the number of tiles", examples=[500]
    )
    batch_size: int = Field(16, ge=1, description="tiles a step")
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate")
    l1_loss_weight: float = Field(0.5, ge=0, description="weight of L1 beside 1 - SSIM in the loss")


class CamelyonSettings(CommonSettings):
    """Fine-tune an ImageNet backbone on lymph node (Camelyon16) patches, normal against tumor, and register it.

    python -m projects.camelyon --data DIR
    """

    arch: str = Field("tf_efficientnet_lite0", description="a timm model")
    weights: str = Field("imagenet", description="imagenet, none, or a .safetensors file")
    patch_size: int = Field(96, ge=32, description="side of what the network sees, in pixels")
    masks: Literal["on", "off"] = Field("on", description="add masked copies of training patches that have a mask")
    balance: Literal["none", "sampler", "augment"] = Field("none", description="how rare classes are made up for")
    class_weights: bool = Field(False, description="weigh the loss by 1 / class frequency")
    steps: int = Field(
        0, ge=0, description="training steps; 0 for 12 times the root of the number of patches", examples=[300]
    )
    batch_size: int = Field(32, ge=1, description="patches a step")
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="label label_smoothing")
    checkpoint_selection: Literal["last", "best"] = Field(
        "last", description="averaged weights of the end, or those best on val"
    )


class CellSettings(CommonSettings):
    """The recipe of a cell classifier, and its images: the same for every arm of a study."""

    wbc_folder: str = Field("WBC_100", description="name of the folder with the cells, in data")
    masks: Literal["on", "off"] = Field("on", description="add masked copies of training cells that have a mask")
    mask_from: str = Field(
        "",
        description="another folder in data whose cells and masked copies are added to the training images",
        examples=["WBC_JTSC"],
    )
    pretrain_data: str = Field(
        "",
        description="folder for the pretraining of encoders that are not registered yet; data without it",
        examples=["DIR"],
    )
    external: str = Field("", description="another laboratory's folder of class folders, scored too", examples=["DIR"])
    external_crop: float = Field(0, ge=0, le=1, description="like field, for external; 0 for the same", examples=[1.0])
    balance: Literal["none", "sampler", "augment"] = Field("none", description="how rare classes are made up for")
    class_weights: bool = Field(False, description="weigh the loss by 1 / class frequency")
    decoded_size: int = Field(192, ge=32, description="side at which images are stored, in pixels")
    image_size: int = Field(64, ge=32, description="side of what the cell network sees, in pixels")
    encoder_size: int = Field(96, ge=32, multiple_of=16, description="side of what the encoders see, in pixels")
    crop: float = Field(
        0.55, gt=0, le=1, description="side of the part around the centre that is looked at, in sides of the image"
    )
    train_views: int = Field(
        0, ge=0, description="stored views a training image; 0 for 6000 / images, 2 to 16", examples=[8]
    )
    tta_views: int = Field(
        2, ge=1, le=8, description="flips and quarter turns that an answer is averaged over; time in use grows with it"
    )
    steps: int = Field(
        0, ge=0, description="training steps; 0 for 30 x images^0.41 (162 for 61 images, 1074 for 6160)", examples=[500]
    )
    batch_size: int = Field(64, ge=1, description="cells a step")
    learning_rate: float = Field(3e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's decay")
    schedule: Literal["onecycle", "cosine"] = Field("onecycle", description="of the learning rate")
    max_grad_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="label label_smoothing")
    auxiliary_loss_weight: float = Field(1.0, ge=0, description="weight of the loss of each branch's own head")
    target_risk: float = Field(
        0.01, ge=0, lt=1, description="share of wrong answers among those that need no review, on a half of val"
    )
    ood_false_positive_rate: float = Field(
        0.01, ge=0, lt=1, description="share of cells that may be called unlike those that it knows, on a half of val"
    )


class WbcSettings(CellSettings):
    """Train a white-blood-cell classifier on a share of the labels, with frozen encoders or without, and register it.

    python -m projects.wbc --fraction 0.5 --data DIR
    python -m projects.wbc --fraction 0.01 --encoders none --draw 3
    """

    fraction: float = Field(1.0, gt=0, le=1, description="share of the training labels", examples=[0.5])
    labels_per_class: int | None = Field(None, ge=1, description="labels a class, instead of fraction", examples=[10])
    draw: Annotated[int, Field(ge=0)] | Literal["official"] = Field(
        0, description="which images are drawn; official takes the folders WBC_50, WBC_10, WBC_1", examples=[0]
    )
    encoders: tuple[str, ...] = Field(
        ("prcc", "camelyon"),
        description="prcc, camelyon, imagenet, random-prcc, random-imagenet, models:/NAME/VERSION; or none",
        examples=["prcc,camelyon"],
    )
    init_from: str = Field(
        "",
        description="registered classifier whose weights the training starts from",
        examples=["models:/hemacell-wbc/1"],
    )
    checkpoint_selection: Literal["last", "best"] = Field(
        "last", description="averaged weights of the end, or those best on val"
    )
    register_model: bool = Field(True, description="register the classifier")

    @model_validator(mode="after")
    def _one_amount(self) -> WbcSettings:
        if self.fraction != 1.0 and self.labels_per_class is not None:
            raise ValueError("fraction and labels_per_class: expected one of the two, found both; leave one out")
        if "none" in self.encoders and len(self.encoders) > 1:
            raise ValueError("encoders: none stands alone; type encoders=none, or leave it out of the list")
        return self


_NOT_OF_AN_ARM = {
    *("fraction", "labels_per_class", "draw", "seed", "data", "external", "pretrain_data", "data_license", "threads"),
    *("device", "num_evals", "checkpoint_seconds", "resume", "force", "experiment", "run_name", "register_model"),
}


class StudySettings(CellSettings):
    """Train every arm on every amount of labels and every draw, and compare: does pretraining help, and how sure is it?

    python -m projects.study --data DIR --arms "none;prcc,camelyon" --draws 5 --workers 2
    python -m projects.study --data DIR --dry_run true
    """

    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.01, 0.1, 0.5, 1.0), description="shares of the training labels", examples=["0.01,0.1"]
    )
    arms: str = Field(
        "none;prcc,camelyon",
        description="lists of encoders or 'name: setting=value, …', separated by semicolons",
        examples=["none;imagenet;prcc,camelyon"],
    )
    baseline: Baseline = ""
    draws: int = Field(5, ge=1, description="draws of training images (at 100 %: seeds), the same for all arms")
    first_draw: int = Field(0, ge=0, description="number of the first draw")
    step_budget: Literal["study", "full"] = Field(
        "study", description="training steps a cell, where steps=0: fewer, for a grid of many runs, or those of wbc"
    )
    image_size: int = Field(48, ge=32, description="side of what the cell network sees, in pixels")
    num_evals: int = Field(5, ge=1, description="how often the val metrics are computed and logged")
    workers: int = Field(1, ge=1, description="runs side by side, each in a process with its share of the cores")
    executor: str = Field("local", description="where the runs are computed: local, in processes of this machine")
    dry_run: bool = Field(False, description="only show the grid, what is there already, and the time it will take")

    @property
    def arm_list(self) -> list[Arm]:
        """The arms, in the order given.

        Raises:
            ValueError: as `parse_arms`.
        """
        # What the grid itself sets, and what is the same for all runs of a study, is not for an arm to set.
        return parse_arms(self.arms, set(WbcSettings.model_fields) - _NOT_OF_AN_ARM)

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
        return self


class EvaluateSettings(JobSettings):
    """Score a registered classifier on a labelled folder, beside the scores that it had on its own test images.

    python -m projects.evaluate --data DIR
    python -m projects.evaluate --model models:/hemacell-wbc/3 --data DIR --crop 1.0
    """

    model: str = Field(
        "hemacell-wbc",
        description="registered classifier; a bare name is its @champion, on the built-in sample its @sample",
        examples=["models:/hemacell-wbc@champion"],
    )
    data: str = Field(
        "",
        description="folder of class folders, or with the course layout; without it $HEMACELL_DATA, else the sample",
        examples=["DIR"],
    )
    wbc_folder: str = Field("WBC_100", description="name of the folder with the cells, in the course layout")
    split: Literal["test", "val", "train", "all"] = Field(
        "test", description="which images, where the folder is divided; all takes them together"
    )
    crop: OtherCrop = 0
    limit: Limit = 0
    max_bad: MaxBad = 0.01
    resamples: int = Field(2000, ge=200, description="resamples of the bootstrap")
    device: Device = "auto"
    precision: Precision = "float32"
    threads: Threads = 0
    force: Force = False
    experiment: Experiment = ""
    run_name: RunName = ""


class CompareSettings(JobSettings):
    """Compare runs that are there already, and write the report again: trains nothing.

    python -m projects.compare --study RUN_ID
    python -m projects.compare --runs RUN_A,RUN_B
    python -m projects.compare --filter "params.fraction = '0.1'"
    """

    study: tuple[str, ...] = Field((), description="ids of one or more studies, taken as one grid", examples=["RUN_ID"])
    runs: tuple[str, ...] = Field((), description="ids of runs of wbc; two give one paired answer", examples=["A,B"])
    filter: str = Field(
        "",
        description="a search over the finished runs of wbc, as MLflow writes it",
        examples=["params.fraction = '0.1'"],
    )
    baseline: Baseline = ""
    resamples: int = Field(2000, ge=200, description="resamples of the bootstrap")
    permutations: int = Field(5000, ge=500, description="permutations of the test")
    output: str = Field("", description="folder that the report is written to as well", examples=["DIR"])
    experiment: Experiment = ""
    run_name: RunName = ""

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


class PredictSettings(JobSettings):
    """Classify images with a registered classifier: a folder, a table of paths or one file -> a table of answers.

    python -m projects.predict --images DIR --output cells.csv
    python -m projects.predict --images cells.parquet --output answers.parquet --differential true
    """

    model: str = Field(
        "models:/hemacell-wbc@champion",
        description="registered classifier; the version that it means is noted in every row",
    )
    images: str = Field(
        "",
        description="folder, searched at any depth; .csv or .parquet file with a column image or path; or one image",
        examples=["DIR"],
    )
    output: str = Field("", description="file to write, .csv or .parquet", examples=["cells.csv"])
    crop: OtherCrop = 0
    precision: Literal["float32", "bf16"] = Field(
        "float32",
        description="float32 agrees to 1e-5 everywhere; bf16 is faster, and its probabilities differ by 0.0003 in the "
        "mean and up to 0.05",
    )
    batch: int = Field(64, ge=1, description="images at once")
    threads: Threads = 0
    device: Device = "auto"
    differential: bool = Field(
        False, description="count the classes of each smear (first-level folder, or column smear), as table and page"
    )
    resamples: int = Field(2000, ge=200, description="resamples of the bootstrap behind the corrected shares' limits")
    seed: int = Field(0, ge=0, description="of these resamples")
    explain: int = Field(
        0,
        ge=0,
        le=96,
        description="images shown in a picture with what spoke for their answers, those for review first",
        examples=[24],
    )
    force: bool = Field(False, description="run again, and overwrite an output that is something else")
    experiment: Experiment = ""
    run_name: RunName = ""

    @model_validator(mode="after")
    def _both_ends(self) -> PredictSettings:
        for name in ("images", "output"):
            if not getattr(self, name).strip():
                example = example_text(type(self).model_fields[name])
                raise ValueError(f"{name}: expected a name, found nothing; type for example {name}={example}")
        return self


class ExportSettings(JobSettings):
    """Write a registered classifier as ONNX, check it against the classifier, and register it beside that.

    python -m projects.export --output cells.onnx
    python -m projects.export --model models:/hemacell-wbc/3 --data DIR
    """

    model: str = Field(
        "models:/hemacell-wbc@champion",
        description="registered classifier; a bare name is its @champion, on the built-in sample its @sample",
    )
    data: str = Field(
        "",
        description="images that it is checked on: a folder of class folders, or with the course layout; without it "
        "$HEMACELL_DATA, else the sample",
        examples=["DIR"],
    )
    wbc_folder: str = Field("WBC_100", description="name of the folder with the cells, in the course layout")
    limit: Limit = 100
    max_bad: MaxBad = 0.01
    output: str = Field("", description="file to write as well, .onnx", examples=["cells.onnx"])
    threads: Threads = 0
    force: bool = Field(False, description="run again, and overwrite an output that is something else")
    experiment: Experiment = ""
    run_name: RunName = ""


class MainSettings(CommonSettings):
    """Run everything, small, on the built-in sample: both pretrainings, then the classifier with and without them.

    python -m projects.main
    """

    fraction: float = Field(0.5, gt=0, le=1, description="share of the training labels")
    prcc_steps: int = Field(60, ge=1, description="steps of the autoencoder")
    camelyon_steps: int = Field(45, ge=1, description="steps of the patch classifier")
    wbc_steps: int = Field(90, ge=1, description="steps of each cell classifier")


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
}
