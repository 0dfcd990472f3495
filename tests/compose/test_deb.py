"""The Debian package: built, and installed, used, refused, removed and purged on a copy of this host.

The copy is this host's own root with a layer above it that takes what is written, in a mount namespace: at the end the
layer shows what the package has left. Here, beside the compose tests, because it is heavy; it needs no Docker engine.
"""

from pathlib import Path

import pytest

from tests.compose.conftest import on_the_copy

pytestmark = pytest.mark.compose

NOT_OURS = ("var/lib/dpkg/", "var/log/", "var/cache/", "tmp/", "run/", "root/", "dev/")
"""What dpkg itself, or a shell, may leave."""
OF_USERS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
"""Files of /etc that a user comes and goes with: each may have a copy of what it was before, beside it."""


def left(layer: Path) -> list[str]:
    """Files that are new or gone in the copy."""
    upper = layer / "upper"
    names = [str(path.relative_to(upper)) for path in upper.rglob("*") if not path.is_dir()]
    ours = [name for name in names if not name.startswith(NOT_OURS) and "/__pycache__/" not in f"/{name}"]
    ours = [name for name in ours if name not in ("etc/.pwd.lock", *(f"etc/{one}-" for one in OF_USERS))]
    return [name for name in ours if not is_as_it_was(upper / name, Path("/") / name)]


def is_as_it_was(now: Path, before: Path) -> bool:
    """Written, and again what it was: those in which users stand."""
    return now.name in OF_USERS and now.is_file() and before.is_file() and now.read_bytes() == before.read_bytes()


def test_package_installs_works_upgrades_and_leaves_no_trace(layer: Path) -> None:
    said = on_the_copy(
        layer,
        """
        dpkg -i /tmp/vmha.deb
        vmha --version && vmha --help
        clustat -h || test $? = 1
        cd /lib/systemd/system && systemd-analyze verify --recursive-errors=no vmha-agent.service vmha-guard.service
        test "$(systemctl is-enabled vmha-agent)" = disabled && test "$(systemctl is-enabled vmha-web)" = disabled
        test "$(stat -c '%U %G %a' /etc/vmha/web)" = 'vmha-web vmha-web 700'
        echo 'correct horse battery' | vmha web user add alice
        test "$(stat -c '%U %a' /etc/vmha/web/users.json)" = 'vmha-web 600'
        printf '[web]\\nusers = "/etc/vmha/web/others.json"\\n' >/etc/vmha/web/vmha.toml
        vmha web user list
        rm /etc/vmha/web/vmha.toml
        setpriv --reuid vmha-web --regid vmha-web --clear-groups vmha web user list
        vmha pki init /tmp/pki && vmha pki issue /tmp/pki node kvm1 --address 10.0.0.1
        /usr/lib/vmha/bin/python -c 'import libvirt, vmha.node.process'
        install -m 600 /dev/null /etc/vmha/vmha.toml
        dpkg -i /tmp/vmha.deb
        dpkg -r vmha
        test -e /etc/vmha/vmha.toml
        /etc/libvirt/hooks/qemu.d/vmha web start begin - </dev/null && echo the gate is open
        dpkg -P vmha
        getent passwd vmha-web || echo the user is gone
        """,
    )
    assert "Usage: vmha" in said
    assert "alice  operator" in said
    assert "nobody may log in (/etc/vmha/web/others.json)" in said, "settings of its own count first"
    assert "the user is gone" in said
    assert "the gate is open" in said
    assert left(layer) == []


def test_package_stays_while_its_guests_run_and_says_what_to_do(layer: Path) -> None:
    said = on_the_copy(
        layer,
        """
        dpkg -i /tmp/vmha.deb
        mkdir -p /run/libvirt/qemu
        echo '<vmha:vm xmlns:vmha="https://vmha.dev/xmlns/domain/1"/>' >/run/libvirt/qemu/web.xml
        ! dpkg -r vmha
        vmha --version && echo it is still there
        rm /run/libvirt/qemu/web.xml
        dpkg -P vmha
        """,
    )
    assert "guests that it manages run on this host: web" in said
    assert "vmha node drain" in said
    assert "it is still there" in said
