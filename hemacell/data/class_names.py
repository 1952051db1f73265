"""The names under which laboratories and public sets file their cells, and those that this project uses for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean

#: The classes of the course layout and of the built-in sample. Other data have their own.
CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
CAMELYON_CLASSES = ("normal", "tumor")

#: class -> other names of it, as `normal_form` gives them. Bands and segmented cells are stages of neutrophils.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "Basophil": ("basophil", "baso", "bas", "ba"),
    "Eosinophil": ("eosinophil", "eosino", "eos", "eo"),
    "Lymphocyte": ("lymphocyte", "lympho", "lymph", "lym", "ly"),
    "Monocyte": ("monocyte", "mono", "mon", "mo"),
    "Neutrophil": (
        *("neutrophil", "neutro", "neut", "neu", "ne", "sne", "bne", "seg", "segs", "segmented", "band", "bands"),
        *("segmentedneutrophil", "bandneutrophil", "neutrophilseg", "neutrophilband", "neutrophilsegmented"),
    ),
    "Immature granulocyte": ("immaturegranulocyte", "ig", "igs"),
    "Metamyelocyte": ("metamyelocyte", "mmy", "meta"),
    "Myelocyte": ("myelocyte", "my"),
    "Promyelocyte": ("promyelocyte", "pmy"),
    "Erythroblast": ("erythroblast", "erb", "nrbc"),
    "Platelet": ("platelet", "plt", "thrombocyte"),
    "Blast": ("blast", "blastcell"),
    "Smudge cell": ("smudgecell", "smudge", "burst"),
    "Artifact": ("artifact", "artefact", "art"),
    "normal": ("normal",),
    "tumor": ("tumor", "tumour"),
}
_KNOWN = {other: name for name, others in SYNONYMS.items() for other in others}

#: split -> the names of folders, or values of a column, that mean it.
SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trainingset"),
    "val": ("val", "valid", "validation", "dev", "valset", "validationset"),
    "test": ("test", "testing", "testset", "testa", "testb"),
}
_SPLITS = {other: split for split, others in SPLIT_NAMES.items() for other in others}

LEFT_OUT = "-"
"""The class that `classes=NAME:-` gives to what is left out."""


@lru_cache(maxsize=4096)  # each image asks for the names of its folders, which are few
def normal_form(name: str) -> str:
    """A name without case, separators and the number of an order: `01_Neutrophils ` -> `neutrophils`."""
    plain = unicodedata.normalize("NFKC", name).casefold().strip()
    return re.sub(r"[\W_]", "", re.sub(r"^\d+[\s._-]+(?=\D)", "", plain))


def known_class(name: str) -> str:
    """The class that a name is known to mean, whatever its case and number; '' where it is not known."""
    form = normal_form(name)
    return _KNOWN.get(form) or _KNOWN.get(form.removesuffix("s"), "")


def split_of(name: str) -> str:
    """The split that the name of a folder, or a value of a column, means; '' where it means none."""
    return _SPLITS.get(normal_form(name), "")


class ClassMap:
    """What `classes=NAME:CLASS,NAME:-` says, applied after the names that are known.

    Args:
        text: the setting; '' maps nothing.

    Raises:
        UserError: not of this form.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text
        self._given: dict[str, str] = {}
        for pair in filter(None, map(str.strip, text.split(","))):
            name, colon, target = (part.strip() for part in pair.partition(":"))
            if not name or not colon or not target:
                raise UserError(
                    f"classes={text}: expected NAME:CLASS, or NAME:- to leave a class out, with commas between them, "
                    f"found {pair}"
                )
            self._given[normal_form(name)] = target
        self._used: set[str] = set()

    def __call__(self, name: str) -> str:
        """The class of a name: as given, else as known, else the name itself; `LEFT_OUT` for those left out."""
        known = known_class(name) or name.strip()
        for form in (normal_form(name), normal_form(known)):
            if form in self._given:
                self._used.add(form)
                return self._given[form]
        return known

    def check_used(self, names: Iterable[str]) -> None:
        """Raise UserError for a name in the setting that does not occur in the data."""
        names = sorted(set(names))
        for form in self._given:
            if form not in self._used:
                raise UserError(
                    f"classes={self.text}: no class {form} in the data, found {', '.join(names)}"
                    f"{did_you_mean(form, names)}"
                )
