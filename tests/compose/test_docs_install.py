"""The tutorial's package, installed as it says on a copy of this host. Questions of apt are answered with yes."""

from pathlib import Path

import pytest

from tests.compose.conftest import on_the_copy
from tests.support.doc_story import ROOT, is_shown, story

pytestmark = pytest.mark.compose


def typed(page: str, layer: Path, *, before: str = "", after: str = "") -> str:
    """All of the page's commands for this place, one after the other, in a checkout."""
    told = [one for one in story((ROOT / page).read_text()) if one.on == "copy" and not one.not_run]
    alone = "export SYSTEMD_OFFLINE=1; echo 'APT::Get::Assume-Yes \"true\";' >/etc/apt/apt.conf.d/99yes"
    lines = [alone, "cd /tmp/checkout", before, *(one.line for one in told), after]
    printed = on_the_copy(layer, "\n".join(lines))
    for one in told:
        assert is_shown(one.shown, printed), (one.line, printed)
    return printed


def test_package_is_installed_as_the_tutorial_says(layer: Path) -> None:
    name = "dist/vmha_0.1.0_amd64.deb"
    said = typed(
        "docs/tutorial/three-hosts.md",
        layer,
        before=f"mkdir dist && cp /tmp/vmha.deb {name} && cp /tmp/vmha.deb .{name.removeprefix('dist')}",
        after="/usr/bin/vmha --version && echo vmha is $(dpkg-query -W -f '${db:Status-Status}' vmha)",
    )
    assert "vmha is installed" in said
