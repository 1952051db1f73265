"""`make docs`: the pages build without a warning, and show what they should."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hemacell.config.jobs import JOBS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_setting_is_explained(site):
    page = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    for job, settings in JOBS.items():
        assert f'id="{job}"' in page
        for name in settings.model_fields:
            assert re.search(rf"<code>{name}</code>", page), name


@pytest.mark.slow
def test_the_api_is_explained(site):
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in re.findall(r"^::: (.+)$", (ROOT / "docs/reference/api.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert f'id="{name}"' in page, name
    assert 'id="hemacell.tracking.serving.client.Classifier.predict"' in page
    assert "&gt;&gt;&gt;" in page


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site):
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img)[^>]+src="(https?://[^"]+)"', page), path
        assert not re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="(https?://[^"]+)"', page), path
