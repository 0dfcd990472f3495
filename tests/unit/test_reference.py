"""Generated reference pages are what the code would generate now."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/reference.py"


def test_key_reference_is_up_to_date():
    page = runpy.run_path(str(SCRIPT))
    assert page["TARGET"].read_text() == page["render"](), "run: python scripts/reference.py"
