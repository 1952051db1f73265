"""How pictures are framed, and what is known of a laboratory; read and written without importing an image library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from hemacell.config.groups import CropSettings

_UNCERTAIN = 0.12  # of a scale, from which on it is said

MARGIN = 1.75
"""Side of a framed picture, in sides of what the networks see of it: room for augmentation to move, turn and zoom."""

Unit = Literal["share", "pixels"]


class Framing(BaseModel):
    """How pictures are framed; without one, their central square is used as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: float
    """side of what the networks see, in median diameters of the laboratory's nuclei"""
    glass: bool = True
    """whether pixels are divided by the colour of the picture's glass"""
    density: tuple[float, float, float] | None = None
    """to which the laboratory's median density of nuclei is scaled, red, green, blue, such as that of the training
    laboratory; None leaves the stain as it is"""


class Site(BaseModel):
    """The scale and stain of a laboratory; the colour of the glass is each picture's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    """pictures with a nucleus that this rests on"""
    diameter: float
    """median of the nuclei's diameters, in `unit`"""
    unit: Unit
    """`share`: in sides of the picture's central square; `pixels`: of the files, where cells have one size in pixels
    though the pictures differ"""
    error: float
    """standard error of the diameter's logarithm, about a share of it"""
    density: tuple[float, float, float]
    """median of the nuclei's mean optical densities (natural logarithm), red, green, blue"""

    def share(self, side: int) -> float:
        """The diameter in sides of a picture whose central square has `side` pixels."""
        return self.diameter if self.unit == "share" else self.diameter / side

    def in_words(self) -> str:
        """One line."""
        size = self.size_in_words(self.diameter)
        return f"nuclei {size} wide (± {100 * self.error:.0f} %, {self.images} pictures)"

    def size_in_words(self, diameter: float) -> str:
        """A diameter in the unit of this laboratory."""
        return f"{100 * diameter:.0f} % of the picture" if self.unit == "share" else f"{diameter:.0f} px"

    def remark(self) -> str:
        """What is to be said of predictions at this scale; '' where enough pictures show it."""
        if self.error <= _UNCERTAIN:
            return ""
        few = {0: "no picture", 1: "one picture"}.get(self.images, f"{self.images} pictures")
        return f"the scale is uncertain (± {100 * self.error:.0f} %): it is estimated from {few}"


def framing_of(settings: CropSettings) -> Framing | None:
    """How settings frame pictures; None where their central part is used as it is."""
    return Framing(field=settings.field_of_view, glass=settings.glass == "on") if settings.crop == "auto" else None


def as_trained(framing: Framing | None, site: Site | None) -> Framing | None:
    """How a classifier frames pictures that was trained on those of a laboratory: stained like these."""
    return framing.model_copy(update={"density": site.density}) if framing and site else None


def central_part(settings: CropSettings) -> float:
    """Side of the part of a decoded picture that the networks see, in its sides."""
    return 1 / MARGIN if settings.crop == "auto" else settings.crop
