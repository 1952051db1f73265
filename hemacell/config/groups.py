"""Settings that several jobs share, in groups; a job's class puts them together (`hemacell.config.jobs`).

All numbers of the recipe are in these two modules. Defaults that differ between jobs are given by the job's class.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hemacell.config.base import Settings
from hemacell.config.roles import Display, Execution, Images, Inherited, Key, Record, Resolved, Varied
from hemacell.core.precision import choose_precision

# Types of single settings whose default a job may change.
Limit = Inherited[
    Images[Annotated[int, Field(ge=0, description="use only this many images, for a quick try; 0 for all")]]
]
Threads = Inherited[
    Resolved[
        Annotated[
            int,
            Field(ge=0, description="processor threads; 0 for one per core. The last digits depend on it"),
        ]
    ]
]
Device = Inherited[Key[Annotated[Literal["auto", "cpu", "cuda"], Field(description="where to compute")]]]
Precision = Inherited[
    Key[
        Annotated[
            Literal["auto", "bf16", "float32"],
            Field(description="auto takes bf16 where the device has instructions for it, else float32"),
        ]
    ]
]
NumEvals = Inherited[
    Record[Annotated[int, Field(ge=1, description="how often the val metrics are computed and logged")]]
]
DecodedSize = Key[Annotated[int, Field(ge=32, description="side at which decoded images are stored, in pixels")]]
EncoderSize = Key[
    Annotated[int, Field(ge=32, multiple_of=16, description="side of the image that the encoders get, in pixels")]
]
WbcFolder = Images[Annotated[str, Field(description="name of the folder with the cells, in data of the course layout")]]
ImageSize = Key[Annotated[int, Field(ge=32, description="side of the image that the cell network gets, in pixels")]]
Steps = Key[
    Annotated[int, Field(ge=0, description="training steps; 0 for steps_factor x training images ^ steps_exponent")]
]
BatchSize = Key[Annotated[int, Field(ge=1, description="images per step")]]
LearningRate = Key[Annotated[float, Field(gt=0, description="peak learning rate")]]
WeightDecay = Key[Annotated[float, Field(ge=0, description="weight decay of AdamW; not for biases and normalisation")]]
StepsFactor = Key[Annotated[float, Field(gt=0, description="factor in the default number of training steps")]]
StepsExponent = Key[Annotated[float, Field(ge=0, description="exponent in the default number of training steps")]]
CheckpointSelection = Key[
    Annotated[Literal["last", "best"], Field(description="the final averaged weights, or those best on val")]
]
Resamples = Annotated[int, Field(ge=200, description="resamples of the bootstrap behind the intervals")]
Crop = Key[
    Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, le=1)],
        Field(
            description="auto finds the cell, and the scale of its laboratory; a number is the side of the central "
            "part that is used, in sides of the image",
            examples=["auto"],
        ),
    ]
]
OtherCrop = Key[
    Annotated[
        Literal["auto"] | Annotated[float, Field(gt=0, le=3)],
        Field(
            description="side of what the classifier sees, in sides of the image; auto finds the scale of these "
            "images, or takes the crop that the classifier was trained with",
            examples=["auto"],
        ),
    ]
]
FindCells = Key[
    Annotated[bool, Field(description="the pictures are whole fields of a smear: find every white cell in them first")]
]
SiteName = Resolved[
    Annotated[
        str,
        Field(
            description="laboratory that the images are of: takes the version of the model that was adapted to it",
            examples=["lisc"],
        ),
    ]
]
Baseline = Key[
    Annotated[str, Field(description="the arm that the others are compared with; by default none, else the first arm")]
]
Zoom = Key[Annotated[float, Field(ge=1, description="augmentation: largest factor of enlarging or reducing")]]
Shift = Key[Annotated[float, Field(ge=0, description="augmentation: largest displacement, in sides of the image")]]
Stain = Key[
    Annotated[
        float, Field(ge=0, description="augmentation: spread of the random matrix that multiplies optical densities")
    ]
]
Brightness = Key[
    Annotated[float, Field(ge=0, description="augmentation: spread of what is added to the optical densities")]
]
SyntheticLaboratories = Inherited[
    Key[
        Annotated[
            int,
            Field(
                ge=0,
                description="laboratories made by code in which training cells are shown too, with crop=auto and "
                "method=fusion",
            ),
        ]
    ]
]


class JobSettings(Settings):
    """What all jobs have.

    Attributes:
        computed_by: names of the modules that compute the job's result: a finished run counts as long as the code of
            these, and of what they import, is the same (`hemacell.core.provenance`).
    """

    computed_by: ClassVar[tuple[str, ...]] = ()

    experiment: Execution[str] = Field(
        "", description="MLflow experiment; by default the one of the job", examples=["NAME"]
    )
    run_name: Execution[str] = Field("", description="name of the run; by default what it is", examples=["NAME"])


class StepSettings(JobSettings):
    """What a job has whose finished runs are found again: its images, its threads, and how it is run."""

    data: Inherited[Resolved[str]] = Field(
        "",
        description="folder with class folders, or the course layout; by default $HEMACELL_DATA, else the sample",
        examples=["DIR"],
    )
    limit: Limit = Field(0, examples=[100])
    max_bad: Inherited[Key[float]] = Field(0.01, ge=0, le=1, description="share of images that may be unreadable")
    threads: Threads = 0
    force: Inherited[Execution[bool]] = Field(
        False, description="run again even where the same run has finished before"
    )
    resume: Execution[str] = Field(
        "", description="id of a stopped run to continue; its settings are taken from it", examples=["RUN_ID"]
    )


class ComputeSettings(Settings):
    """Where and how precisely a network is computed."""

    device: Device = "auto"
    precision: Precision = "auto"

    def resolved(self) -> Self:
        """See `Settings.resolved`."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": choose_precision(self.device)})


class TrainingSettings(ComputeSettings, StepSettings):
    """What all jobs have that train a network."""

    seed: Inherited[Varied[int]] = Field(0, ge=0, description="seed of everything random except the draw")
    data_license: Inherited[Display[str]] = Field(
        "", description="licence of the images, for the model's card", examples=["CC BY 4.0"]
    )
    channel_stats: Record[bool] = Field(
        False, description="log the training images' channel means and deviations, in 0 to 1"
    )
    num_evals: NumEvals = 10
    checkpoint_seconds: Inherited[Execution[float]] = Field(30.0, ge=0, description="time between two checkpoints")


class OptimiserSettings(Settings):
    """How the weights are learnt: AdamW (Loshchilov & Hutter 2019) and an average of the weights."""

    steps: Steps = Field(0, examples=[500])
    steps_factor: StepsFactor = 30.0
    steps_exponent: StepsExponent = 0.41
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = 0.05
    adam_beta1: Key[float] = Field(0.9, ge=0, lt=1, description="decay of AdamW's mean of the gradients")
    adam_beta2: Key[float] = Field(0.98, ge=0, lt=1, description="decay of AdamW's mean of their squares")
    schedule: Key[Literal["onecycle", "cosine"]] = Field(
        "onecycle", description="schedule of the learning rate; after the warm-up both fall along half a cosine"
    )
    warmup: Key[float | None] = Field(
        None,
        ge=0,
        lt=1,
        description="share of the steps with a rising learning rate; by default 0.15 for onecycle, 0.02 for cosine",
        examples=[0.1],
    )
    max_grad_norm: Key[float] = Field(1.0, gt=0, description="gradients are clipped to this norm")
    ema_decay: Key[float] = Field(0.99, ge=0, lt=1, description="decay of the averaged weights")
    ema_ramp: Key[float] = Field(
        10.0, ge=1, description="the decay is at most (step + 1) / (step + ema_ramp), counted from 0"
    )

    def training_steps(self, images: int) -> int:
        """The number of training steps for this number of training images."""
        return self.steps or round(self.steps_factor * images**self.steps_exponent)


class PretrainingSettings(OptimiserSettings, TrainingSettings):
    """What the jobs have that pretrain an encoder."""

    steps_exponent: StepsExponent = 0.5


class LabelledSettings(Settings):
    """How the classes and groups of labelled images are understood."""

    classes: Images[str] = Field(
        "",
        description="other names for classes, as NAME:CLASS with commas between them; CLASS - leaves a class out",
        examples=["neu:Neutrophil,ig:-"],
    )
    group: Images[str] = Field(
        "",
        description="what must stay in one split: a regular expression on the path, such as (P[0-9]+)_ for a patient, "
        "or none; by default what the source knows",
        examples=["^([^_]+)_"],
    )


class CleaningSettings(LabelledSettings):
    """What an audit has found, taken over without a change to the files."""

    labels: Resolved[str] = Field(
        "",
        description="table of corrected labels, with columns path or sha256, and label (- leaves an image out); for "
        "training images only",
        examples=["corrected.csv"],
    )


class ClassSettings(CleaningSettings):
    """How a classifier learns its classes."""

    drop: Images[Literal["none", "duplicates"]] = Field(
        "none",
        description="duplicates leaves out copies and near-copies; of each picture one stays, in test if there is one",
    )
    masks: Images[Literal["on", "off"]] = Field(
        "on", description="add masked copies of the training images that have a mask"
    )
    balance: Key[Literal["none", "sampler", "augment"]] = Field(
        "none", description="rare classes: left as they are, drawn more often, or repeated before augmentation"
    )
    class_weights: Key[bool] = Field(False, description="weight the loss by 1 / class frequency")
    label_smoothing: Key[float] = Field(0.1, ge=0, lt=1, description="share of a label that is spread over all classes")


class CropSettings(Settings):
    """What of an image is used, and at which sizes."""

    decoded_size: DecodedSize = 192
    image_size: ImageSize = 64
    encoder_size: EncoderSize = 96
    crop: Crop = "auto"
    field_of_view: Key[float] = Field(
        1.6, ge=1, le=5, description="with crop=auto: side of what is seen, in median diameters of the nuclei"
    )
    glass: Key[Literal["on", "off"]] = Field(
        "on", description="with crop=auto: divide pixels by the colour of the picture's empty glass"
    )

    @model_validator(mode="after")
    def _only_with_auto(self) -> Self:
        for name in ("field_of_view", "glass"):
            if self.crop != "auto" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: it is used with crop=auto, found crop={self.crop:g}; leave one of them out")
        return self


class AugmentationSettings(Settings):
    """How far an augmented view may lie from its image."""

    augment_zoom: Zoom = 1.2
    augment_shift: Shift = 0.04
    augment_stain: Stain = 0.10
    augment_brightness: Brightness = 0.05

    @property
    def augmentation(self) -> dict[str, Any]:
        """The fields of an `AugmentationConfig`."""
        return self._amounts("augment")

    def _amounts(self, prefix: str) -> dict[str, Any]:
        return {name: getattr(self, f"{prefix}_{name}") for name in ("zoom", "shift", "stain", "brightness")}


class ViewSettings(AugmentationSettings):
    """Stored views of a cell, which the encoders embed, and how far the cell network's input differs from them."""

    train_views: Key[int] = Field(
        0, ge=0, description="stored views per training image; 0 for 6000 / images, 2 to 16", examples=[8]
    )
    tta_views: Key[int] = Field(
        0,
        ge=0,
        le=8,
        description="flips and quarter turns that a prediction is averaged over; its time grows with them. "
        "0 for 1 where method=fusion has encoders that are networks, else 2",
        examples=[2],
    )
    jitter_zoom: Zoom = 1.1
    jitter_shift: Shift = 0.02
    jitter_stain: Stain = 0.05
    jitter_brightness: Brightness = 0.02

    def stored_views(self, images: int) -> int:
        """The number of stored views per image for this number of training images."""
        return self.train_views or min(16, max(2, 6000 // images))

    @property
    def jitter(self) -> dict[str, Any]:
        """The fields of an `AugmentationConfig` for what the cell network gets on top of a stored view."""
        return self._amounts("jitter")


class SyntheticSettings(Settings):
    """Laboratories made by code, in which the training cells are shown too (`hemacell.framing.synthetic`)."""

    synthetic_laboratories: SyntheticLaboratories = Field(40, examples=[20])
    synthetic_images: Key[int] = Field(200, ge=2, description="training cells in each of them, at most")
    synthetic_share: Key[float] = Field(
        0.5, ge=0, le=1, description="share of the training cells in a batch that are of these laboratories"
    )


class FusionSettings(Settings):
    """The network that fuses a trainable cell network with the embeddings of frozen encoders."""

    dropout: Key[float] = Field(0.2, ge=0, lt=1, description="dropout of the cell network's features")
    embedding_dropout: Key[float] = Field(0.5, ge=0, lt=1, description="dropout of the standardised embeddings")
    branch_dropout: Key[float] = Field(
        0.2, ge=0, lt=1, description="probability that a branch is left out of the common head, per image"
    )
    auxiliary_loss_weight: Key[float] = Field(1.0, ge=0, description="weight of the loss of each branch's own head")

    @property
    def dropouts(self) -> dict[str, float]:
        """The arguments of a `FusedClassifier` that concern its training only."""
        return {name: getattr(self, name) for name in ("dropout", "embedding_dropout", "branch_dropout")}


class CalibrationSettings(Settings):
    """What is measured on one half of the val images after the training."""

    target_risk: Key[float] = Field(
        0.01,
        gt=0,
        lt=1,
        description="largest share of errors among the predictions that need no review; half of val must show it",
    )
    ood_false_positive_rate: Key[float] = Field(
        0.01, ge=0, lt=1, description="share of cells like the known ones that may be flagged as out of distribution"
    )
    open_set_false_positive_rate: Key[float] = Field(
        0.02, ge=0, lt=1, description="share of cells of the known classes that may be flagged as none of them; 0: none"
    )
