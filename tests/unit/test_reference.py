"""Generated reference pages are what the code would generate now."""

import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts/reference.py"))


@pytest.mark.parametrize("page", SCRIPT["PAGES"])
def test_generated_page_is_up_to_date(page: str) -> None:
    assert (SCRIPT["FOLDER"] / page).read_text() == SCRIPT["PAGES"][page](), "run: python scripts/reference.py"


def test_reference_of_commands_has_every_verb_and_option() -> None:
    text = SCRIPT["render_commands"]()
    for heading in ("## `vmha vm migrate`", "## `vmha lab vm add`", "## `vmha node drain`", "## `vmha apply`"):
        assert f"\n{heading}\n" in text
    assert "`--prune`" in text


def test_reference_of_settings_has_bounds_and_defaults() -> None:
    text = SCRIPT["render_settings"]()
    assert "| `journal_days` | whole number, at least 1, at most 365 | `7` |" in text
    assert "[Timing](#timing)" in text
    assert "\n### Timing\n" in text
