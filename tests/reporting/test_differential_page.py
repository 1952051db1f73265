"""The page and the table of a differential count."""

import base64
import html
import io
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.prediction.differential.shares import differential, differentials
from hemacell.prediction.inputs import read_inputs
from hemacell.prediction.summary import tallied
from hemacell.reporting.differential_page import Origin, write_page, write_table

CLASSES = ("Basophil", "Neutrophil")


@pytest.fixture
def smears(tmp_path):
    """Two smears of images, the second named so that it must be escaped; the tally of made-up answers."""
    for smear in ("one", "<b>two"):
        (tmp_path / "cells" / smear).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (30, 40), (30 * number, 90, 90)).save(tmp_path / "cells" / smear / f"{number}.png")
    (tmp_path / "cells" / "one" / "5.png").write_bytes(b"")
    inputs = read_inputs(str(tmp_path / "cells"))
    bad = [name == "one/5.png" for name in inputs.names]
    answers = pd.DataFrame(
        {
            "image": inputs.names,
            "class": np.where(bad, "", [CLASSES[number % 3 == 0] for number in range(12)]),
            "probability": np.where(bad, np.nan, np.linspace(0.4, 0.95, 12)),
            "needs_review": [number < 4 or bad[number] for number in range(12)],
            "why": np.where(bad, "has zero size", ""),
            "none_of_these": np.where(bad, np.nan, [1.5 if number < 2 else 0.2 for number in range(12)]),
        }
    )
    return inputs, tallied(CLASSES, [answers], inputs.smears, shown=2)


def write(tmp_path, smears, confusion, tells_other=False, **others):
    inputs, tally = smears
    counted = [
        differential(
            name,
            CLASSES,
            tally.counts[name],
            tally.needs_review[name],
            tally.unreadable[name],
            confusion,
            other=tally.other[name] if tells_other else None,
            resamples=200,
        )
        for name in tally.counts
    ]
    given = {
        "model": "models:/hemacell-wbc/3",
        "source": "cells",
        "output": "cells.csv",
        "run": "r" * 32,
        "sample": False,
        "confusion": confusion,
        "crop": "auto",
        "own_crop": "auto",
        "confidence_threshold": 0.7,
    }
    write_table(tmp_path / "d.csv", counted, confusion)
    write_page(tmp_path / "d.html", counted, tally, inputs, Origin(**{**given, **others}))
    return pd.read_csv(tmp_path / "d.csv"), (tmp_path / "d.html").read_text(encoding="utf-8")


def test_table_and_page(tmp_path, smears):
    table, page = write(tmp_path, smears, np.array([[80, 20], [5, 295]]))
    assert list(table["smear"]) == ["<b>two", "<b>two", "one", "one"] and list(table["class"]) == list(CLASSES) * 2
    assert table.groupby("smear")["count"].sum().to_dict() == {"<b>two": 6, "one": 5}
    assert table["unreadable"].tolist() == [0, 0, 1, 1]
    for name in ("share", "corrected"):
        assert (table[f"{name}_low"] <= table[name]).all() and (table[name] <= table[f"{name}_high"]).all()
        assert table.groupby("smear")[name].sum().to_numpy() == pytest.approx([1, 1], abs=1e-5)
    # it needs no other file, and names of files are no markup
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "<script" not in page
    assert "<b>two" not in page and "&lt;b&gt;two" in page
    assert "Its test images were Basophil 25%, Neutrophil 75%" in page and "Fewer than 100 cells" in page
    assert "1 image could not be read" in page and "This is not a result" not in page
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 8  # two smears, two classes, two of each
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (88, 88)
    first = page.index('class="doubt"')
    assert first < page.index("<figure><img")


def test_cells_of_no_class_are_counted_apart(tmp_path, smears):
    confusion = np.array([[80, 20], [5, 295]])
    plain, _ = write(tmp_path, smears, confusion)
    assert plain["of_all"].isna().all()
    table, page = write(tmp_path, smears, confusion, tells_other=True, open_set="some words")
    other = table[table["class"] == "other / not classified"].set_index("smear")
    assert other["count"].sum() == 2 and other["share"].isna().all() and (other["needs_review"] == other["count"]).all()
    assert other["of_all"].to_numpy() == pytest.approx((other["count"] / other["cells"]).to_numpy(), abs=1e-5)
    assert (other["of_all_high"] > 0.1).all()
    assert table.groupby("smear")["count"].sum().to_dict() == {"<b>two": 6, "one": 5}
    for name in ("share", "corrected", "of_all"):
        assert table.groupby("smear")[name].sum().to_numpy() == pytest.approx([1, 1], abs=1e-5)
    assert "2 like none of the classes" in page and "Some words." in page and "of all cells" in page
    assert "this share may be too small as well as too large" in page
    assert len(re.findall(r'src="data:image/jpeg;base64,', page)) == 8  # they are still shown beside the nearest class


def test_what_must_be_said_when_it_is_so(tmp_path, smears):
    table, page = write(tmp_path, smears, None, sample=True, crop="1.0", own_crop="0.55")
    assert table["corrected"].isna().all() and "corrected for" not in page
    assert "are not available (the run that trained it was deleted)" in page and "This is not a result" in page
    assert "crop=1.0, those of the classifier&#39;s test with 0.55" in page
    _, page = write(tmp_path, smears, np.array([[80, 20], [0, 0]]))
    assert "Its test had no image of Neutrophil" in page


def test_shares_that_cannot_be_known_are_said_beside_the_numbers(tmp_path, smears):
    table, page = write(tmp_path, smears, np.array([[40, 60], [8, 12]]))
    told = table.set_index(["smear", "class"])["note"]
    assert "does not tell it from Neutrophil: its share cannot be known" in told["one", "Basophil"]
    assert told["one", "Neutrophil"].startswith("only 20 test images of this class; the classifier's own test does not")
    assert (table["corrected_high"] - table["corrected_low"]).min() > 0.5
    text = html.unescape(page)
    assert "Its test does not tell Basophil, Neutrophil apart" in text
    assert len(re.findall(r">\*</abbr>", page)) == 4 and text.count("<li>* Basophil: the classifier's own") == 2
    table, page = write(tmp_path, smears, np.array([[80, 20], [5, 295]]))
    assert table["note"].isna().all() and "<li>*" not in page and "</abbr>" not in page


def test_a_smear_that_nothing_could_be_read_of(tmp_path, smears):
    _, tally = smears
    for counted in (tally.counts, tally.needs_review):
        counted["one"] = np.zeros(2, np.int64)
    tally.unreadable["one"] = 6
    table, page = write(tmp_path, smears, np.array([[80, 20], [5, 295]]))
    assert set(table[table["smear"] == "one"]["note"]) == {"no cell could be read: any share is possible"}
    assert "No cell could be counted: 6 images could not be read. The shares are unknown." in page
    assert "No cell could be read in one: the shares there are unknown." in page
    assert page.count("<caption>") == 1


def test_a_picture_that_has_gone_since_is_left_out(tmp_path, smears):
    for path in (tmp_path / "cells" / "one").iterdir():
        path.unlink()
    _, page = write(tmp_path, smears, None)
    assert len(re.findall("data:image/jpeg", page)) == 4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
def test_the_page_as_a_browser_shows_and_prints_it(tmp_path, smears):
    write(tmp_path, smears, np.array([[40, 60], [8, 12]]))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"]
    command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,1500"]
    picture, printed = tmp_path / "page.png", tmp_path / "page.pdf"
    for wanted in (f"--screenshot={picture}", f"--print-to-pdf={printed}"):
        done = subprocess.run(
            [*command, "--no-pdf-header-footer", wanted, (tmp_path / "d.html").as_uri()],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape == (1500, 1100, 3)

    def drawn(colour: tuple[int, int, int]) -> int:
        return int((np.abs(pixels - colour).max(2) < 12).sum())

    # both bars (at 3/4 of their colour), the frame of a cell to review, each of the four kinds of cell
    assert drawn((64, 149, 197)) > 300 and drawn((223, 134, 64)) > 300 and drawn((213, 94, 0)) > 300
    assert drawn((0, 90, 90)) > 4000 and drawn((90, 90, 90)) > 4000
    pages = re.findall(rb"/Type\s*/Page\b", printed.read_bytes())
    assert printed.read_bytes()[:5] == b"%PDF-" and 1 <= len(pages) <= 4


def test_a_smear_of_unlike_cells_has_counts_and_no_shares(tmp_path, smears):
    inputs, tally = smears
    tally.unlike["one"] = 3
    confusion = np.array([[80, 20], [5, 295]])
    counted = differentials(tally, confusion, resamples=200)
    origin = {name: "" for name in ("model", "source", "output", "run", "crop", "own_crop")}
    write_table(tmp_path / "d.csv", counted, confusion)
    write_page(
        tmp_path / "d.html",
        counted,
        tally,
        inputs,
        Origin(**origin, sample=False, confusion=confusion, confidence_threshold=0.7),
    )
    table = pd.read_csv(tmp_path / "d.csv")
    assert table["share"].isna().tolist() == table["corrected"].isna().tolist() == [False, False, True, True]
    assert table["note"][2].startswith("no shares: 3 of 5 cells are unlike") and table["count"].sum() == 11
    page = (tmp_path / "d.html").read_text(encoding="utf-8")
    assert page.count("No shares are shown: 3 of 5 cells are unlike the cells that the model knows") == 1
    assert "No shares are shown of one: most of its cells" in page and "find_cells=true" in page
