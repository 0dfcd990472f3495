"""libvirt's own note of how a guest ended: the last one counts, and only if nothing began after it."""

from pathlib import Path

import pytest

from vmha.hypervisor.qemu_log import TAIL_BYTES, read_last_ending

START = "2026-03-01 10:00:00.000+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4\n"
QEMU = "char device redirected to /dev/pts/0 (label charserial0)\nqemu-system-x86_64: terminating on signal 15\n"
LEFT = "2026-03-01 10:05:00.500+0000: shutting down, reason=migrated\n"
DIED = "2026-03-01 10:06:00.000+0000: shutting down, reason=crashed\n"
LEFT_AT = 1772359500.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (START + QEMU + LEFT, ("migrated", LEFT_AT)),
        (START + LEFT + START + DIED, ("crashed", LEFT_AT + 59.5)),
        (START + LEFT + START, None),
        (START, None),
        ("", None),
        (START + "a guest that writes shutting down, reason=migrated\n", None),
        ("x" * TAIL_BYTES + "\n" + LEFT, ("migrated", LEFT_AT)),
    ],
)
def test_last_note_of_a_log(tmp_path: Path, text: str, expected: tuple[str, float] | None) -> None:
    (tmp_path / "web.log").write_text(text)
    assert read_last_ending(tmp_path, "web") == expected


def test_absent_log_and_a_name_that_is_a_path_tell_nothing(tmp_path: Path) -> None:
    assert read_last_ending(tmp_path, "web") is None
    assert read_last_ending(tmp_path / "a", "../web") is None
