"""The boxes of a folder of fields, in whatever form annotation programs wrote them.

    boxes.csv                              file,x0,y0,x1,y1,class     or the other columns that `data.tables` knows
    a.jpg, a.xml                           Pascal VOC, one file per picture, beside it or in a folder of their own
    _annotations.coco.json                 COCO, one file per set
    images/a.jpg, labels/a.txt, data.yaml  YOLO, one file per picture; classes by classes.txt, obj.names or data.yaml

The form is found by what lies in the folder, in this order, as programs write several of them at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml

from hemacell.core.errors import UserError, in_one_line
from hemacell.data.boxes import box_of_texts
from hemacell.data.class_names import known_class, normal_form
from hemacell.data.images import UnreadableImage, image_size
from hemacell.data.manifest import Skipped
from hemacell.data.sources.formats import LabelledBox, UnreadableBoxes, read_voc, read_yolo
from hemacell.data.tables import TABLES, Table, open_table, place_of
from hemacell.data.walk import walk
from hemacell.fields.coco import is_coco, read_coco

FORMS = ("table", "Pascal VOC", "COCO", "YOLO")
_WHITE = ("wbc", "wbcs", "whitebloodcell", "whitebloodcells", "whitecell", "whitecells", "leukocyte", "leukocytes")
_NO_WHITE = (
    *("rbc", "rbcs", "redbloodcell", "redbloodcells", "redcell", "redcells", "erythrocyte", "erythrocytes"),
    *("platelet", "platelets", "plt", "plts", "thrombocyte", "thrombocytes", "artifact", "artifacts", "artefact"),
    *("background", "stain", "dirt", "erythroblast", "erythroblasts", "nrbc", "nrbcs"),
)
_NAMES = ("classes.txt", "obj.names", "predefined_classes.txt")  # one class per line
_NAMES_YAML = (".yaml", ".yml")


@dataclass
class FieldAnnotations:
    """The boxes of the fields of a folder."""

    form: str
    """One of `FORMS`."""
    fields: dict[Path, list[LabelledBox]]
    """Each annotated picture -> its boxes, none where it was looked at and nothing is in it; labels as written."""
    skipped: list[Skipped] = field(default_factory=list)
    """What cannot be used, with the reason."""

    def labels(self) -> Counter[str]:
        """How many boxes each label has."""
        return Counter(box.label for boxes in self.fields.values() for box in boxes)

    def white_cells(self, renamed: Callable[[str], str] | None = None) -> dict[Path, list[LabelledBox]]:
        """The boxes of white cells only, by the class that their label is known to mean; '' for 'WBC' and the like.

        `renamed` gives the class of a label of white cells that says more than that, '' for none.
        """
        named = {label: white_class(label) for label in self.labels()}
        if renamed:
            named = {label: renamed(label) if name else name for label, name in named.items()}
        return {
            picture: [box._replace(label=name) for box in boxes if (name := named[box.label]) is not None]
            for picture, boxes in self.fields.items()
        }


def white_class(label: str) -> str | None:
    """The class of white cell that a label means; '' where it says no more than that, None for other cells."""
    form = normal_form(label)
    if form in _NO_WHITE:
        return None
    return "" if form in _WHITE else known_class(label) or label


def has_annotations(folder: Path) -> bool:
    """Whether a folder has boxes of its pictures in one of `FORMS`. Raises UserError where it cannot be read."""
    return _Folder(folder).form() is not None


def read_annotations(folder: Path) -> FieldAnnotations:
    """Read the boxes of a folder, whatever their form.

    Raises:
        UserError: no such folder, no boxes in any form, boxes of which none can be used.
    """
    found = _Folder(folder)
    form = found.form()
    if form is None:
        raise UserError(
            f"{folder}: no boxes found; expected a table with the columns file, x0, y0, x1, y1 and class, or files of "
            f"Pascal VOC (.xml), COCO (.json) or YOLO (.txt) beside the pictures; it has {found.other_files()}"
        )
    annotations = FieldAnnotations(form, {})
    _READERS[form](found, annotations)
    _within_pictures(annotations)
    if not annotations.fields:
        reasons = Counter(skipped.reason for skipped in annotations.skipped).most_common(1)
        why = f"{reasons[0][0]}, such as {annotations.skipped[0].path}" if reasons else "they name no picture"
        raise UserError(f"{folder}: its {form} annotations cannot be used: {why}")
    return annotations


class _Folder:
    """What lies in a folder: pictures, and files that may be annotations."""

    def __init__(self, folder: Path) -> None:
        found = walk(folder)
        self.root = found.root
        self.pictures = found.images
        self.other_files = found.other_files
        self.others: dict[str, list[str]] = defaultdict(list)
        for path, _ in found.skipped:
            self.others[PurePosixPath(path).suffix.lower()].append(path)
        self._known = set(self.pictures)
        self._of_stem: dict[str, list[str]] = defaultdict(list)
        self._of_name: dict[str, list[str]] = defaultdict(list)
        for path in self.pictures:
            self._of_stem[PurePosixPath(path).stem].append(path)
            self._of_name[PurePosixPath(path).name].append(path)

    def form(self) -> str | None:
        """The form of its boxes; None without any."""
        if self.table():
            return "table"
        if any(PurePosixPath(path).stem in self._of_stem for path in self.others[".xml"]):
            return "Pascal VOC"
        if self.coco():
            return "COCO"
        return "YOLO" if self.yolo() else None

    def table(self) -> Table | None:
        """The table of boxes nearest to the top."""
        paths = [path for ending in TABLES for path in self.others[ending]]
        for path in sorted(paths, key=lambda path: (path.count("/"), path)):
            table = open_table(self.root / path)
            if table.find("image") and table.box_columns()[0]:
                return table
        return None

    def coco(self) -> list[Path]:
        """The files of COCO, of every split."""
        return [file for path in sorted(self.others[".json"]) if is_coco(file := self.root / path)]

    def yolo(self) -> list[str]:
        """The .txt files that are named as a picture is."""
        return sorted(path for path in self.others[".txt"] if PurePosixPath(path).stem in self._of_stem)

    def picture_beside(self, path: str) -> str | None:
        """The picture that an annotation file belongs to: of several of its name the one in the nearest folder."""
        return _nearest(path, self._of_stem.get(PurePosixPath(path).stem, []))

    def picture_named(self, name: str, file: Path) -> str | None:
        """The picture of this folder that an annotation file names; where it is not where it says, by its name."""
        beside = PurePosixPath(file.parent.relative_to(self.root).as_posix())
        place = PurePosixPath(place_of(file.parent, name))
        for path in (str(beside / place), str(place)):
            if path in self._known:
                return path
        return _nearest(str(beside / place.name), self._of_name.get(place.name, []))


def _nearest(path: str, candidates: Sequence[str]) -> str | None:
    def shared(other: str) -> int:
        folders = zip(PurePosixPath(path).parts[:-1], PurePosixPath(other).parts[:-1], strict=False)
        return sum(one == two for one, two in folders)

    return max(candidates, key=shared, default=None)


def _read_table(found: _Folder, annotations: FieldAnnotations) -> None:
    table = found.table()
    if table is None:
        return
    columns, corners = table.box_columns()
    label = next(iter(table.find("label")), "")
    images, labels, *sides = table.texts([table.image_column(), label, *columns])
    places: dict[str, str | None] = {}
    for number, name in enumerate(images):
        if name not in places:
            places[name] = found.picture_named(name, table.file) if name else None
        picture, texts = places[name], [side[number] for side in sides]
        if picture is None:
            annotations.skipped.append(Skipped(name or f"row {number + 1}", "row without its picture"))
            continue
        boxes = annotations.fields.setdefault(found.root / picture, [])
        if not any(texts):
            continue  # a picture in which nothing was found
        if box := box_of_texts(texts, corners):
            boxes.append(LabelledBox(labels[number], box))
        else:
            annotations.skipped.append(Skipped(f"{name}, row {number + 1}", "row without a box in pixels"))


def _read_voc(found: _Folder, annotations: FieldAnnotations) -> None:
    _read_files(found, annotations, sorted(found.others[".xml"]), lambda file, _: read_voc(file))


def _read_coco(found: _Folder, annotations: FieldAnnotations) -> None:
    for file in found.coco():
        pictures, without = read_coco(file)
        annotations.skipped += [Skipped(str(file), "annotation without a box")] * without
        for name, boxes in pictures.items():
            if picture := found.picture_named(name, file):
                annotations.fields.setdefault(found.root / picture, []).extend(boxes)
            else:
                annotations.skipped.append(Skipped(name, "annotation without a picture"))


def _read_yolo(found: _Folder, annotations: FieldAnnotations) -> None:
    names = _yolo_names(found)
    _read_files(found, annotations, found.yolo(), lambda file, picture: read_yolo(file, image_size(picture), names))


def _read_files(
    found: _Folder,
    annotations: FieldAnnotations,
    paths: Iterable[str],
    read: Callable[[Path, Path], list[LabelledBox]],
) -> None:
    """Read one annotation file per picture."""
    for path in paths:
        picture = found.picture_beside(path)
        if picture is None:
            annotations.skipped.append(Skipped(path, "annotation without a picture"))
            continue
        try:
            boxes = read(found.root / path, found.root / picture)
        except (UnreadableBoxes, UnreadableImage) as error:
            annotations.skipped.append(Skipped(path, str(error)))
            continue
        annotations.fields.setdefault(found.root / picture, []).extend(boxes)


_READERS: Mapping[str, Callable[[_Folder, FieldAnnotations], None]] = dict(
    zip(FORMS, (_read_table, _read_voc, _read_coco, _read_yolo), strict=True)
)


def _yolo_names(found: _Folder) -> list[str]:
    """The names of classes in their order."""
    lists = [path for path in found.others[".txt"] + found.others[".names"] if PurePosixPath(path).name in _NAMES]
    for path in sorted(lists, key=lambda path: path.count("/")):
        return [line.strip() for line in (found.root / path).read_text("utf-8", "replace").splitlines() if line.strip()]
    for ending in _NAMES_YAML:
        for path in sorted(found.others[ending], key=lambda path: path.count("/")):
            if names := _names_of_yaml(found.root / path):
                return names
    raise UserError(
        f"{found.root}: the YOLO boxes have numbers as classes, and nothing names them; expected classes.txt with one "
        "name per line, obj.names, or data.yaml with names"
    )


def _names_of_yaml(file: Path) -> list[str]:
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as YAML ({in_one_line(error)[:120]}); correct it") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        return [str(names[number]) for number in range(len(names))]
    return [str(name) for name in names] if isinstance(names, list) else []


def _within_pictures(annotations: FieldAnnotations) -> None:
    """Leave out pictures that cannot be read, and boxes that lie outside of theirs."""
    for picture, boxes in list(annotations.fields.items()):
        try:
            width, height = image_size(picture)
        except UnreadableImage as error:
            annotations.skipped.append(Skipped(str(picture), str(error)))
            del annotations.fields[picture]
            continue
        kept = []
        for each in boxes:
            left, top, right, bottom = each.box.left, each.box.top, *_ends(each)
            if right > 0 and bottom > 0 and left < width and top < height:
                kept.append(each)
            else:
                annotations.skipped.append(Skipped(str(picture), "box outside of its picture"))
        annotations.fields[picture] = kept


def _ends(each: LabelledBox) -> tuple[int, int]:
    return each.box.left + each.box.width, each.box.top + each.box.height
