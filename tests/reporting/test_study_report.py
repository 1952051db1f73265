"""The report: its numbers are those of the comparison, it needs no other file, and names cannot break it."""

import base64
import html
import io
import re
import shutil
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.evaluation.comparison.compare import compare
from hemacell.evaluation.comparison.grid import splits_of
from hemacell.evaluation.comparison.table import results_table
from hemacell.evaluation.comparison.words import arm_words
from hemacell.reporting.study_answer import answer
from hemacell.reporting.study_report import write_report
from hemacell.reporting.study_sections import sections

FACTS = {"data.kind": "folder", "data": "cs5242", "MLflow run": "f" * 32}
EVIL = "<script>alert('x')</script> | *bold* `code` [link](http://evil.example) \n# heading & <img src=x>"
VOID = {"meta", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """A page that is well-formed: every element is closed where it should be. Keeps text, tables and attributes."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and "tr" in self.open:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text.append(data)
        if "td" in self.open or ("th" in self.open and "tr" in self.open):
            self.rows[-1][-1] += data

    def words(self):
        return " ".join(" ".join(self.text).split())

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def runs(make_runs):
    """Three arms with a control, of which one has no run with the most labels; and two other laboratories."""
    amounts, names = ("0.01", "0.1", "1.0"), ("lisc", "jtsc")
    arms = ("none", "imagenet", "camelyon")
    made = make_runs(arms, amounts, draws=3, images=200, external=80, laboratories=names)
    return [replace(run, val_images=1029) for run in made if (run.arm, run.amount) != ("imagenet", "1.0")]


@pytest.fixture(scope="module")
def comparisons(runs):
    few = {"resamples": 200, "permutations": 199}
    return [compare(runs, split=split, **few) for split in splits_of(runs)]


@pytest.fixture(scope="module")
def report(runs, comparisons, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "below" / "here"
    written = write_report(folder, comparisons, runs, FACTS, results_table(runs))
    assert sorted(written) == sorted(path for path in folder.rglob("*") if path.is_file())
    return folder


@pytest.fixture(scope="module")
def page(report):
    return Page((report / "report.html").read_text(encoding="utf-8"))


def markdown_rows(text):
    """Cells of all tables, as a reader sees them."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[html.unescape(re.sub(r"\\([\\`*|~_\]])", r"\1", run)).strip() for run in row] for row in rows]


def numbers(text):
    return [float(number) for number in re.findall(r"[+-]?\d+(?:\.\d+)?", text.replace("−", "-").replace(",", " "))]


def test_the_tables_have_the_numbers_of_the_comparison(report, page, comparisons):
    in_markdown = markdown_rows((report / "report.md").read_text(encoding="utf-8"))
    for comparison in comparisons:
        for arm in comparison.arms:
            for amount in comparison.amounts:
                scores = [
                    comparison.score(arm, amount, metric)
                    for metric in ("macro_f1", "accuracy", "balanced_accuracy", "auroc", "ece")
                ]
                if scores[0] is None:
                    assert (arm, amount) == ("imagenet", "1.0")
                    continue
                expected = [arm_words(arm), "3 draws", *(f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in scores)]
                assert expected in page.rows
                assert expected in [row[1:] for row in in_markdown]
        for each in comparison.differences:
            if each.metric != "macro_f1":
                continue
            expected = [each.mean, each.low, each.high, each.t_low, each.t_high]
            found = [
                row
                for row in page.rows
                if len(row) == 7
                and row[:2] == [each.arm, f"{each.n}"]
                and numbers(row[2] + row[3]) == pytest.approx(expected, abs=6e-4)
            ]
            assert len(found) == 1
            ps = [each.p, each.p_holm, *each.mcnemar]
            told = [*found[0][4:6], *found[0][6].split(", ")]
            assert told == ["< 0.001" if p < 0.001 else f"{p:.3f}" for p in ps]
            assert found[0] in [row[1:] for row in in_markdown]


def test_the_label_budget_counts_val_images(page, comparisons):
    for amount, words in (("0.01", "1 %"), ("0.1", "10 %"), ("1.0", "100 %")):
        assert [words, f"{comparisons[0].labels[amount]:,.0f}", "1,029"] in page.rows
    assert "each run had 1,029 labelled val images" in page.words()


def test_label_efficiency_controls_and_majority_baseline(page, comparisons):
    first = comparisons[0]
    assert len(first.control_shares) == 2
    for each in first.control_shares:
        row = next(
            row
            for row in page.rows
            if row[:2] == ["camelyon", "imagenet"]
            and numbers(row[3]) == pytest.approx([each.beyond.mean, each.beyond.low, each.beyond.high], abs=6e-4)
        )
        share = "–" if each.share is None else f"{100 * each.share:.0f} % "
        assert row[5].startswith(share.replace("-", "−"))
    heads = [row for row in page.rows if row == ["arm", "at 1 %", "at 10 %", "at 100 %"]]
    assert len(heads) == 1
    worth = next(row for row in page.rows if len(row) == 4 and row[0] == "camelyon" and " x" in row[1])
    found = next(each for each in first.label_efficiency if (each.arm, each.amount) == ("camelyon", "0.01"))
    assert numbers(worth[1])[0] == pytest.approx(found.ratio, rel=0.06)
    assert f"always predicts {first.majority_baseline.label}" in page.words()
    assert f"macro-F1 {first.majority_baseline.metrics['macro_f1']:.3f}" in page.words()


def test_sections_come_in_the_order_in_which_they_are_read(report, page):
    headings = [
        "The label budget",
        "Scores",
        "Differences to “none”",
        "Label efficiency",
        "Gains of the controls",
        "Differences by class",
        "Confusion matrices",
        "Training curves",
        "Majority-class baseline",
        "Other laboratories",
        "Another laboratory: jtsc",
        "Another laboratory: lisc",
        "Method",
        "Facts",
        "Runs",
    ]
    text = (report / "report.md").read_text(encoding="utf-8")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == ["Warnings", *headings]
    assert [place["id"] for place in page.of("section") if "id" in place] == [
        link["href"].removeprefix("#") for link in page.of("a")
    ]
    words = page.words()
    places = [words.rindex(heading) for heading in headings[:-1]]
    assert places == sorted(places)


def test_the_page_needs_nothing_but_itself(report, page):
    text = (report / "report.html").read_text(encoding="utf-8")
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name)
    assert not page.of("script")
    assert "url(" not in text
    assert "@import" not in text
    assert page.of("html")[0]["lang"] == "en"
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_figure_is_in_the_page_with_its_words(report, page):
    files = {path.name: path.read_bytes() for path in (report / "figures").iterdir()}
    assert set(files) == {
        f"{name}.png"
        for name in (
            *("label_efficiency", "paired_differences", "class_gains", "confusion_matrices", "training_curves"),
            *("external-lisc_label_efficiency", "external-lisc_paired_differences"),
            *("external-jtsc_label_efficiency", "external-jtsc_paired_differences"),
        )
    }
    images = page.of("img")
    embedded = [base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in images]
    assert sorted(embedded) == sorted(files.values())
    for image, data in zip(images, embedded, strict=True):
        assert len(image["alt"]) > 40
        width, height = Image.open(io.BytesIO(data)).size
        assert width / height == pytest.approx(int(image["width"]) / int(image["height"]), rel=0.01)
        assert 600 <= int(image["width"]) <= 1050
    assert (report / "report.html").stat().st_size < 3e6


def test_links_of_the_markdown_lead_to_its_files(report):
    text = (report / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert sorted(links) == sorted(f"figures/{path.name}" for path in (report / "figures").iterdir())
    assert text.endswith("\n") and not text.endswith("\n\n")
    for line, following in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if line.startswith("|") and following.startswith("| ---"):
            assert line.count("|") == following.count("|")


def test_results_come_back_from_the_csv_to_the_bit(report, runs):
    table = results_table(runs)
    text = (report / "results.csv").read_bytes()
    assert text.endswith(b"\n") and b"\r" not in text
    back = pd.read_csv(
        report / "results.csv", float_precision="round_trip", dtype={"amount": str}, keep_default_na=True
    )
    assert list(back.columns) == list(table.columns)
    for name in table.columns:
        if table[name].dtype == float:
            assert np.array_equal(back[name].to_numpy(float), table[name].to_numpy(float), equal_nan=True)
        elif name != "arm":
            assert back[name].tolist() == table[name].tolist()
    # a reader that takes `none` for a missing value is not ours to mend, but pandas does not
    assert back["arm"].tolist() == table["arm"].tolist()


def test_names_cannot_break_the_report(runs, comparisons, tmp_path):
    changed = [replace(runs[0], name=EVIL), *runs[1:]]
    made = replace(
        comparisons[0],
        arms=("none", "imagenet", EVIL),
        scores=tuple(replace(s, arm=EVIL) if s.arm == "camelyon" else s for s in comparisons[0].scores),
        warnings=(EVIL,),
    )
    write_report(tmp_path, [made], changed, {**FACTS, EVIL: EVIL}, results_table(changed))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text
    page = Page(text)
    assert " ".join(EVIL.split()) in page.words()
    assert EVIL.replace(",", " + ") in [row[0] for row in page.rows]

    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<" not in text.replace("<br>", "")
    links = re.findall(r"(?<!\\)\]\(([^)]+)\)", text)
    assert all(link.startswith("figures/") for link in links)
    assert not any(line.startswith("# heading") for line in text.splitlines())
    flat = " ".join(EVIL.split())
    rows = markdown_rows(text)
    assert any(flat in row for row in rows)
    assert {len(row) for row in rows if flat in row} == {2, 7, 8}  # facts, runs, scores: a bar makes no new column
    assert pd.read_csv(tmp_path / "results.csv")["name"][0] == EVIL


@pytest.mark.parametrize(("kind", "told"), [("folder", False), ("sample", True), ("folder, sample", True), ("", False)])
def test_a_sample_is_no_result(kind, told, make_runs, tmp_path):
    some = make_runs(("none",), ("0.01",), draws=1, images=20)
    made = compare(some, resamples=50, permutations=19)
    write_report(tmp_path, [made], some, {"data.kind": kind}, results_table(some))
    for name in ("report.html", "report.md"):
        assert ("This is not a result" in (tmp_path / name).read_text(encoding="utf-8")) == told


def test_the_answer_names_the_best_supported_gain_of_each_amount(comparisons):
    made = comparisons[0]
    said = answer(made)
    assert said[0] == f"Compared with “none”, on {made.images} test images:"
    for sentence, amount, words in zip(said[1:4], made.amounts, ("1 %", "10 %", "100 %"), strict=True):
        found = [each for arm in made.arms if (each := made.difference(arm, amount))]
        above = [each for each in found if each.is_clear and each.mean > 0]
        assert sentence.startswith(f"At {words}: ")
        best = max(above or found, key=lambda each: each.low)
        assert best.arm in sentence
        assert (f"{best.mean:+.2f}" in sentence) or (f"{best.mean:+.3f}".replace("-", "−") in sentence)
        assert ("gains" in sentence) == bool(above)
    assert any("its control imagenet" in sentence for sentence in said[4:])


def chosen(comparison, low, high, p, arm="camelyon", amount="0.01"):
    """The comparison with one difference only, of these limits."""
    base = comparison.difference(arm, amount)
    one = replace(base, mean=(low + high) / 2, low=low, high=high, p=p, p_holm=p)
    return replace(comparison, arms=("none", arm), amounts=(amount,), differences=(one,), control_shares=())


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (0.05, 0.11, 0.002, "At 1 %: camelyon gains +0.08 macro-F1 [0.05, 0.11], p = 0.002, over “none”"),
        (-0.02, 0.06, 0.4, "no difference to “none” is distinguishable from zero; the only one is camelyon with +0.02"),
        (
            -0.01,
            0.06,
            0.03,
            "a small p for these classifiers, but the interval over other images and draws contains zero",
        ),
        (0.01, 0.06, 0.09, "the interval is above zero, but p is above 0.05"),
        (-0.09, -0.03, 0.001, "no arm is clearly above “none”; the only one is camelyon with −0.06"),
        (-0.09, -0.03, 0.001, "Clearly below “none”: camelyon."),
    ],
)
def test_the_answer_says_what_is_distinguishable_from_zero(low, high, p, expected, comparisons):
    assert expected in answer(chosen(comparisons[0], low, high, p))[1]


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (0.02, 0.06, 0.01, "Beyond its control imagenet, camelyon gains at 1 %."),
        (-0.02, 0.06, 0.4, "Compared with its control imagenet, camelyon shows no gain distinguishable from zero."),
        (-0.06, -0.02, 0.01, "and is clearly worse than the control at 1 %."),
    ],
)
def test_the_answer_says_what_an_arm_brings_over_its_control(low, high, p, expected, comparisons):
    share = comparisons[0].control_shares[0]
    beyond = replace(share.beyond, mean=(low + high) / 2, low=low, high=high, p=p, p_holm=p)
    made = replace(comparisons[0], control_shares=(replace(share, beyond=beyond),))
    assert any(expected in sentence for sentence in answer(made))


def test_warnings_are_in_both(report, page, comparisons):
    assert comparisons[0].warnings
    text = (report / "report.md").read_text(encoding="utf-8")
    for warning in comparisons[0].warnings:
        assert warning in page.words()
        assert f"- {warning}" in text


@pytest.mark.parametrize(
    ("arms", "amounts", "draws"),
    [
        (("none",), ("0.01",), 1),
        (("none", "prcc,camelyon"), ("0.01",), 1),
        (("none", "prcc"), ("10 per class", "0.1"), 2),
        (("camelyon", "a run of mine"), ("as given",), 1),
    ],
)
def test_small_grids(arms, amounts, draws, make_runs, tmp_path):
    amounts_made = ["0.01" if amount == "as given" else amount for amount in amounts]
    made = make_runs(arms, amounts_made, draws=draws, images=60)
    if "as given" in amounts:
        made = [replace(run, amount="as given", history=(), metrics={}) for run in made]
    comparison = compare(made, resamples=50, permutations=19)
    files = write_report(tmp_path, [comparison], made, {}, results_table(made))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.of("img")) == len([path for path in files if path.suffix == ".png"])
    assert "nan" not in page.words().lower().split()
    assert "None" not in page.words()
    if len(arms) == 1:
        assert "There is no arm besides “none”, so there is nothing to compare." in page.words()
    if draws == 1:
        assert any(row[1:2] == ["images (1 run)"] for row in page.rows)


def test_no_comparison(tmp_path):
    with pytest.raises(ValueError, match="at least one comparison"):
        write_report(tmp_path, [], [], {}, pd.DataFrame())


def test_the_same_report_twice_is_the_same_to_the_byte(runs, comparisons, report, tmp_path):
    for path in write_report(tmp_path, comparisons, runs, FACTS, results_table(runs)):
        assert path.read_bytes() == (report / path.relative_to(tmp_path)).read_bytes(), path.name


@pytest.mark.slow
def test_a_study_of_two_hundred_runs(make_runs, tmp_path):
    """Is of a size that can be mailed; how long it takes is printed, not tested."""
    made = make_runs(draws=7, images=200, scored=False)
    comparison = compare(made, resamples=50, permutations=19)
    start, work = time.perf_counter(), time.process_time()
    write_report(tmp_path, [comparison], made, FACTS, results_table(made))
    seconds, work = time.perf_counter() - start, time.process_time() - work
    print(f"report of {len(made)} runs: {seconds:.1f} s, {work:.1f} s of them work")
    assert (tmp_path / "report.html").stat().st_size < 3e6
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {run.run_id for run in made} <= {row[0] for row in page.rows if row}


def test_every_picture_has_another_name(comparisons, runs):
    names = [picture.name for part in sections(comparisons, runs, FACTS) for picture in part.figures]
    assert len(names) == len(set(names)) == 9


CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
#: Says in the page's title what is wider than the window; the report itself has no script.
PROBE = """<script>
const wide = [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll *")
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.tagName);
document.title = JSON.stringify([document.documentElement.scrollWidth - document.documentElement.clientWidth, wide,
  [...document.images].every(image => image.complete && image.naturalWidth > 0)]);
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1300, 500])
def test_in_a_browser(width, report, tmp_path):
    probed = tmp_path / "probed.html"
    text = (report / "report.html").read_text(encoding="utf-8")
    probed.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    picture = tmp_path / "page.png"
    command = ["chromium", *CHROMIUM_FLAGS, f"--window-size={width},2400", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, f"--screenshot={picture}", "--dump-dom", probed.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert picture.exists(), f"no picture:\n{done.stderr}"
    assert "<title>[0,[],true]</title>" in done.stdout, re.findall(r"<title>.*?</title>", done.stdout)
    shown = np.asarray(Image.open(picture).convert("RGB"))
    assert shown.shape == (2400, width, 3)
    dark = (shown.max(2) < 110).reshape(24, 100, width).sum((1, 2))
    assert (dark > 50).sum() >= 20, f"a page with this little on it is blank: {dark.tolist()}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
def test_on_paper(report, tmp_path):
    paper = tmp_path / "report.pdf"
    command = ["chromium", *CHROMIUM_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={paper}"]
    address = Path(report / "report.html").as_uri()
    subprocess.run([*command, address], capture_output=True, timeout=300, check=False)
    assert paper.read_bytes().startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 5 <= pages <= 14
