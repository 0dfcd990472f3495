"""Pages that set a host up, typed on a copy of this host: what they put there is there, and systemd knows of it.

The copy has no systemd that runs: ``systemctl`` writes what stays, and passes over what would be started. Questions of
apt are answered with yes.
"""

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
        before=f"mkdir dist && cp /tmp/vmha.deb {name}",
        after="/usr/bin/vmha --version && echo vmha is $(dpkg-query -W -f '${db:Status-Status}' vmha)",
    )
    assert "vmha is installed" in said


def test_host_is_set_up_by_hand_as_the_page_says(layer: Path) -> None:
    said = typed(
        "docs/install.md",
        layer,
        before="mkdir -p /etc/vmha",
        after="""
        stat -c '%a %U' /etc/vmha/peers.secret
        systemctl is-enabled vmha-guard vmha-agent
        test -x /etc/libvirt/hooks/qemu && echo the gate is there
        """,
    )
    assert "600 root\nenabled\nenabled\nthe gate is there\n" in said


def test_dashboard_becomes_a_service_as_its_page_says(layer: Path) -> None:
    said = typed(
        "docs/howto/dashboard.md",
        layer,
        before="""
        dpkg-deb -x /tmp/vmha.deb /tmp/package && mv /tmp/package/usr/lib/vmha /usr/lib
        ln -s /usr/lib/vmha/bin/vmha /usr/local/bin/vmha
        """,
        after="""
        stat -c '%a %U %G' /etc/vmha/web
        systemctl is-enabled vmha-web
        """,
    )
    assert "700 vmha-web vmha-web\nenabled\n" in said
