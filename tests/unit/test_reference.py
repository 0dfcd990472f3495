"""Generated reference pages are what the code would generate now."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/reference.py"


def test_the_pages_from_the_code_are_up_to_date():
    pages = runpy.run_path(str(SCRIPT))["PAGES"]
    for path, render in pages.items():
        assert path.read_text() == render(), f"{path.name}: run python scripts/reference.py"
