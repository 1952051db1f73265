import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.manifest import Manifest, Row
from hemacell.data.splits import official_splits
from hemacell.data.subsets import draw, limit
from tests.reading import read_cells

SIZES = {"Basophil": 741, "Eosinophil": 1871, "Lymphocyte": 736, "Monocyte": 828, "Neutrophil": 1984}


def _train(rows, sizes=SIZES):
    return rows([(f"{label}-{n}", label, "train") for label, size in sizes.items() for n in range(size)])


def _digests(manifest):
    return set(manifest.table["sha256"])


def test_one_percent_of_the_real_numbers(rows):
    assert draw(_train(rows), 0.01).counts()["train"] == dict(zip(CLASSES, (7, 19, 7, 8, 20), strict=True))


@given(number=st.integers(0, 20), sizes=st.lists(st.integers(1, 40), min_size=5, max_size=5))
@settings(max_examples=30)
def test_draws_are_nested_stratified_and_never_empty(number, sizes):
    lines = [
        Row(f"/x/{label}-{n}", label, "train", f"{label}-{n}", "", f"{label}-{n}", "original")
        for label, size in zip(CLASSES, sizes, strict=True)
        for n in range(size)
    ]
    train = Manifest.from_rows(lines, CLASSES, "x", "/x")
    smaller: set[str] = set()
    for fraction in (0.01, 0.1, 0.5, 1.0):
        drawn = draw(train, fraction, draw=number)
        assert smaller <= _digests(drawn)
        smaller = _digests(drawn)
        counts = drawn.counts()["train"]
        assert counts == {label: max(1, round(fraction * n)) for label, n in zip(CLASSES, sizes, strict=True)}
    assert len(smaller) == sum(sizes)


def test_draws_depend_on_the_number_and_on_nothing_of_the_file(rows):
    train = _train(rows, dict.fromkeys(CLASSES, 50))
    assert draw(train, 0.1).digest == draw(train, 0.1).digest
    assert draw(train, 0.1).digest != draw(train, 0.1, draw=1).digest
    moved = train.table.assign(path=[f"/other/{n}" for n in range(len(train))][::-1])
    shuffled = Manifest(moved, CLASSES, "x", train.root).select(np.random.default_rng(0).permutation(len(train)))
    assert draw(shuffled, 0.1).digest == draw(train, 0.1).digest


def test_labels_per_class(rows):
    train = _train(rows, {**dict.fromkeys(CLASSES, 30), "Basophil": 3})
    few, many = draw(train, labels_per_class=2), draw(train, labels_per_class=10)
    assert set(few.counts()["train"].values()) == {2} and _digests(few) < _digests(many)
    assert many.counts()["train"] == {**dict.fromkeys(CLASSES, 10), "Basophil": 3}


def test_masked_copies_follow_extra_and_other_splits_stay(cells):
    cells(train=20, val=2, test=2, masks=10)
    root = cells(folder="WBC_JTSC", train={"Monocyte": 4}, masks=4)
    manifest = official_splits(read_cells(root, mask_from="WBC_JTSC"))
    drawn = draw(manifest, 0.5)
    table = drawn.table
    sources = Counter(table[table["split"] == "train"]["source"])
    assert sources["original"] == 50 and sources["extra"] == 8
    originals = table[(table["source"] == "original") & (table["split"] == "train")]
    assert set(table[table["source"] == "masked"]["group"]) <= set(originals["group"])
    kept = manifest.table[manifest.table["source"] == "masked"]["group"].isin(originals["group"]).sum()
    assert sources["masked"] == kept > 0
    assert len(drawn.part("test")) == len(manifest.part("test"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fraction": 0}, "fraction=0: expected a number above 0"),
        ({"fraction": 1.5}, r"fraction=1\.5: expected"),
        ({"fraction": -0.1}, "above 0"),
        ({"fraction": float("nan")}, "fraction=nan"),
        ({"labels_per_class": 0}, "labels_per_class=0: expected 1 or more"),
        ({"fraction": 0.1, "labels_per_class": 5}, "one of the two"),
        ({"draw": -1}, "draw=-1: expected 0, 1, 2"),
        ({"draw": "offical"}, "draw=offical: expected 0, 1, 2 ... or official"),
        ({"draw": "official", "labels_per_class": 5}, "fractions only"),
    ],
)
def test_impossible_draws(rows, arguments, words):
    with pytest.raises(UserError, match=words):
        draw(_train(rows, dict.fromkeys(CLASSES, 2)), **arguments)


@pytest.fixture
def official(cells):
    """Training images and WBC_50: half of them in other files, a re-encoded one among them."""
    root = cells(train=4)
    for label in CLASSES:
        for n in (1, 3):
            source = root / "WBC_100" / "train" / "data" / label / f"{n:03d}.png"
            target = root / "WBC_50" / "train" / "data" / label / f"copy{n}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return root


def test_official_draw_by_content_or_name(official):
    manifest = read_cells(official)
    drawn = draw(manifest, 0.5, draw="official")
    assert {path[-7:] for path in drawn.table["path"]} == {"001.png", "003.png"} and len(drawn) == 10
    folder = official / "WBC_50" / "train" / "data" / "Monocyte"
    (folder / "copy3.png").rename(folder / "002.png")
    (folder / "002.png").write_bytes(b"encoded anew")
    names = [path for path in draw(manifest, 0.5, draw="official").table["path"] if "Monocyte" in path]
    assert {name[-7:] for name in names} == {"001.png", "002.png"}
    assert len(draw(manifest, 1.0, draw="official")) == len(manifest)


def test_official_draw_that_does_not_fit(official):
    manifest = read_cells(official)
    with pytest.raises(UserError, match=r"WBC_10/train/data, found none; type draw=0"):
        draw(manifest, 0.1, draw="official")
    folder = official / "WBC_50" / "train" / "data" / "Monocyte"
    (folder / "copy3.png").write_bytes(b"a stranger")
    with pytest.warns(UserWarning, match="1 of 10 images"):
        assert len(draw(manifest, 0.5, draw="official")) == 9
    (folder / "copy1.png").write_bytes(b"another")
    with pytest.raises(UserError, match="no image of Monocyte"):
        draw(manifest, 0.5, draw="official")


def test_limit_keeps_proportions_and_every_class_of_every_split(sample):
    manifest = read_cells(sample)
    small = limit(manifest, 60)
    originals = small.select((small.table["source"] != "masked").to_numpy())
    assert abs(len(originals) - 60) <= 8
    assert all(n >= 1 for row in originals.counts().values() for n in row.values())
    assert limit(manifest, 60).digest == small.digest != limit(manifest, 60, seed=1).digest
    assert set(limit(manifest, 30).table["path"]) <= set(small.table["path"])
    assert len(limit(manifest, 10**6)) == len(manifest)
    assert len(limit(manifest, 1)) >= 15
    with pytest.raises(UserError, match="limit=0"):
        limit(manifest, 0)


def test_real_draw(real_data):
    drawn = draw(read_cells(real_data).part("train"), 0.01)
    assert len(drawn) == 61 and list(drawn.counts()["train"].values()) == [7, 19, 7, 8, 20]


# --- known groups


def _grouped(sizes, classes=CLASSES):
    """Rows of patients: patient -> {class: number of images}; shuffled names, all train."""
    return Manifest.from_rows(
        [
            Row(f"/x/{patient}-{label}-{n}", label, "train", patient, "", f"{patient}{label}{n}", "original")
            for patient, of_class in sizes.items()
            for label, number in of_class.items()
            for n in range(number)
        ],
        classes,
        "x",
        "/x",
    )


def _groups(manifest):
    return set(manifest.table["group"])


patients = st.dictionaries(
    st.integers(0, 99).map(lambda number: f"patient {number}"),
    st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 12), min_size=1),
    min_size=2,
    max_size=20,
)


@given(sizes=patients, number=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_draws_of_groups_are_whole_nested_and_have_every_class(sizes, number):
    train = _grouped(sizes)
    smaller: set[str] = set()
    for fraction in (0.01, 0.1, 0.5, 1.0):
        drawn = draw(train, fraction, draw=number)
        assert smaller <= _groups(drawn)
        smaller = _groups(drawn)
        assert len(drawn) == train.table["group"].isin(smaller).sum(), "groups are whole"
        assert set(drawn.table["label"]) == set(train.table["label"])
    assert len(drawn) == len(train)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5, 0.8])
def test_a_draw_of_groups_is_as_near_to_the_share_as_they_allow(fraction):
    """Patients with all classes are one stratum: no other number of whole ones comes nearer."""
    rng = np.random.default_rng(0)
    train = _grouped({f"{n}": dict.fromkeys(CLASSES, int(rng.integers(1, 30))) for n in range(25)})
    for number in range(10):
        drawn = draw(train, fraction, draw=number)
        largest = drawn.table["group"].value_counts().max()
        assert abs(len(drawn) - fraction * len(train)) <= max(largest, 5 * 29) / 2


def test_groups_of_one_class_each_are_drawn_class_by_class():
    """Many pictures of one cell: the shares of the classes stay."""
    train = _grouped({f"{label}{n}": {label: 3} for label, size in SIZES.items() for n in range(size // 10)})
    drawn = draw(train, 0.1).counts()["train"]
    assert drawn == {label: 3 * max(1, round(size // 10 / 10)) for label, size in SIZES.items()}


def test_few_labels_per_class_come_from_few_groups():
    train = _grouped({f"{n}": dict.fromkeys(CLASSES, 10) for n in range(20)})
    few, many = draw(train, labels_per_class=5), draw(train, labels_per_class=25)
    assert len(_groups(few)) == 1 and len(_groups(many)) == 3
    assert set(few.counts()["train"].values()) == {5} and set(many.counts()["train"].values()) == {25}
    assert _digests(few) < _digests(many)


def test_a_draw_of_groups_does_not_depend_on_the_order_of_rows():
    train = _grouped({f"{n}": {CLASSES[n % 5]: 2, CLASSES[n % 3]: 1} for n in range(30)})
    shuffled = train.select(np.random.default_rng(0).permutation(len(train)))
    assert draw(shuffled, 0.3).digest == draw(train, 0.3).digest != draw(train, 0.3, draw=1).digest
