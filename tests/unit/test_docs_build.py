"""The pages build to HTML, offline, without a warning: `make docs` is never the first to notice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    options = ("-q", "-n", "-W", "--keep-going", "-d", str(target / "doctrees"), "-b", "html")
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(source), str(target / "html")],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_all_pages_build_without_a_warning(tmp_path: Path) -> None:
    done = build(DOCS, tmp_path)
    assert done.returncode == 0, done.stderr
    for page in DOCS.rglob("*.md"):
        if "_build" not in page.parts:
            assert (tmp_path / "html" / page.relative_to(DOCS).with_suffix(".html")).exists()


def test_link_that_leads_nowhere_and_page_in_no_index_are_errors(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    shutil.copy(DOCS / "conf.py", source)
    (source / "index.md").write_text("# Begin\n\n[away](gone.md), [there](#nothing-of-that-name)\n")
    (source / "alone.md").write_text("# Alone\n")
    done = build(source, tmp_path)
    assert done.returncode != 0
    assert "gone.md" in done.stderr
    assert "nothing-of-that-name" in done.stderr
    assert "alone.md" in done.stderr
