"""Pages that set a host up by hand, typed on a host that a real systemd boots, with Debian's etcd and a real libvirtd.

The host has nothing of vmha to begin with; all that is written there is in its own memory. What pip would fetch is
there already, as the tests have it, so that no network is asked.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.test_confined import GUEST
from tests.support.booted_host import PATH, Host, booted
from tests.support.deb_host import CHECKOUT, PATIENT, UNIT_PATH, UNITS, Typist, commands, furnish
from tests.support.doc_story import ROOT, is_shown
from tests.support.secured import now
from tests.support.waiting import look_until
from vmha.pki.authority import Authority, Kind

pytestmark = pytest.mark.real

FETCHED = "/usr/local/fetched"
PAGE = "http://127.0.0.1:9780"
DASHBOARD, TRANSPORTS = "docs/howto/dashboard.md", "docs/howto/migration-transports.md"
PATIENCE = "{timing: {hold_s: 60, suspect_s: 30, lease_ttl_s: 40}}"
WITHOUT_NETWORK = "PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0 PIP_DISABLE_PIP_VERSION_CHECK=1"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Set up as docs/install.md says, but for step 2."""
    fetched = f"mkdir {FETCHED} && mount --bind {Path(pytest.__file__).parents[1]} {FETCHED}"
    etcd = f"cat >/etc/default/etcd <<'END'\n{etcd_settings()}\nEND"
    furnished = {"furnish": furnish(f"{fetched}\n{etcd}"), "has_joined": False, "unit_path": UNIT_PATH}
    folder = tmp_path_factory.mktemp("host")
    with booted(folder, programs={"web.xml": GUEST}, outside=UNITS, **furnished) as host:
        try:
            look_until(lambda: host.is_active("etcd", "libvirtd"), what="the host has booted")
            host.type("rm /run/units/vmha-*; mkdir /etc/vmha")
            install(host)
            yield host
        finally:
            print(
                host.run("systemctl", "status", "--no-pager", "--all", "vmha-guard", "vmha-agent", "vmha-web", "etcd")
            )


def install(host: Host) -> None:
    typist = Typist(host, environment=WITHOUT_NETWORK)
    for told in commands(page("docs/install.md"), "host"):
        if "cp deploy/systemd" in told.line:
            host.type(f"cat >/etc/vmha/vmha.toml <<'END'\n{settings()}\nEND")
        typist.type(told)
        if " -m venv " in told.line:
            host.type(f"echo {FETCHED} >$(echo /opt/vmha/lib/python3*/site-packages)/fetched.pth")


def page(name: str) -> str:
    return (ROOT / name).read_text()


def etcd_settings() -> str:
    """The example, of one member that speaks plainly."""
    text = page("deploy/etcd/etcd.default").replace("https://10.0.0.11", "http://127.0.0.1")
    text = re.sub(
        r"^ETCD_INITIAL_CLUSTER=.*", 'ETCD_INITIAL_CLUSTER="kvm1=http://127.0.0.1:2380"', text, flags=re.MULTILINE
    )
    return re.sub(r"^ETCD_(PEER_)?(TRUSTED|CERT|KEY|CLIENT_CERT).*\n", "", text, flags=re.MULTILINE)


def settings() -> str:
    """The page's example, with this host's address; it has no certificates, and leaves the machine's watchdog alone."""
    text = page("deploy/vmha.toml")
    text = re.sub(r"^\[tls\].*\n(.+\n)+", "", text, flags=re.MULTILINE)
    text = re.sub(r'"10\.\d\.0\.11"', '"127.0.0.1"', text)
    text = re.sub(r"^endpoints = .*", 'endpoints = ["127.0.0.1:2379"]', text, flags=re.MULTILINE)
    return re.sub(r"^watchdog = .*", 'watchdog = ""', text, flags=re.MULTILINE)


def is_online(host: Host) -> bool:
    said = host.run("/usr/local/bin/vmha", "node", "list", "--json")
    return said.startswith("[") and [node["condition"] for node in json.loads(said)] == ["online"]


def answers(host: Host, command: str = f"curl -s -o /dev/null -w '%{{http_code}}' {PAGE}/") -> bool:
    return host.run("sh", "-c", command) == "200"


def main_pid(host: Host, unit: str) -> str:
    return host.run("systemctl", "show", "--value", "-p", "MainPID", unit)


def test_host_is_set_up_by_hand_as_the_page_says(host: Host) -> None:
    assert host.type("stat -c '%a %U' /etc/vmha/peers.secret; systemctl is-enabled vmha-guard vmha-agent").split() == [
        *("600", "root"),
        *("enabled", "enabled"),
    ]
    look_until(lambda: is_online(host), what="it is online", **PATIENT)
    assert "vmha 0.1.0" in host.type("vmha --version")
    assert host.type("/etc/libvirt/hooks/qemu web start begin - </dev/null && echo the gate is open")


SSHD = """\
HostKey /run/sshd/host
AuthorizedKeysFile /run/sshd/known
StrictModes no
UsePAM no
"""
SSH = """\
Host kvm1
  User root
  IdentityFile {folder}/key
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  LogLevel ERROR
  ProxyCommand {way} /usr/sbin/sshd -i -f /run/sshd/config
"""


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


@contextmanager
def desk(host: Host, folder: Path) -> Iterator[list[str]]:
    """Another machine, whose only way to the host is ssh; yields what a command is begun with there.

    A network of its own, and ssh is put through to a real sshd of the host's without one.
    """
    for key in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    host.type(f"mkdir -p /run/sshd; cp {folder}/host /run/sshd; cp {folder}/key.pub /run/sshd/known")
    host.type(f"cat >/run/sshd/config <<'END'\n{SSHD}END\nsed -i 's/^root:[^:]*:/root:*:/' /etc/shadow")
    (folder / "config").write_text(SSH.format(folder=folder, way=" ".join(host.inside())))
    (folder / "bin").mkdir()
    (folder / "bin/ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/config "$@"\n')
    (folder / "bin/ssh").chmod(0o755)
    stays = "ip link set lo up && exec cat"
    machine = subprocess.Popen(["unshare", "-n", "sh", "-c", stays], stdin=subprocess.PIPE)
    there = ["nsenter", "-t", str(machine.pid), "-n", "env", f"PATH={folder}/bin:{PATH}"]
    try:
        look_until(lambda: "UP" in said(*there, "ip", "link"), what="it has a network")
        yield there
    finally:
        machine.kill()
        machine.wait()


def test_dashboard_is_begun_by_hand_and_seen_from_a_desk_as_its_page_says(host: Host, tmp_path: Path) -> None:
    (by_hand,), (tunnel,) = commands(page(DASHBOARD), "kvm1"), commands(page(DASHBOARD), "desk")
    host.run("systemctl", "stop", "vmha-web")
    host.type(f"env --default-signal=INT PYTHONUNBUFFERED=1 {by_hand.line} >/run/web.said 2>&1 & echo $! >/run/web.pid")
    look_until(lambda: is_shown(by_hand.shown, host.run("cat", "/run/web.said")), what="it says where", **PATIENT)
    with desk(host, tmp_path) as there:
        ask = [*there, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{PAGE}/"]
        assert said(*ask) == "000", "nobody but the host sees it"
        with subprocess.Popen([*there, "sh", "-c", tunnel.line], stdin=subprocess.PIPE) as ssh:
            try:
                look_until(lambda: said(*ask) == "200", what="it is seen", **PATIENT)
            finally:
                ssh.terminate()
    host.type("kill -INT $(cat /run/web.pid)")
    look_until(lambda: not host.run("sh", "-c", "ls -d /proc/$(cat /run/web.pid)"), what="it ends", **PATIENT)
    assert "Traceback" not in host.run("cat", "/run/web.said")


@pytest.fixture(scope="module")
def dashboard(host: Host) -> Host:
    Typist(host).type_all(page(DASHBOARD), "host")
    look_until(lambda: answers(host), what="the dashboard answers", **PATIENT)
    return host


def test_dashboard_becomes_a_service_as_its_page_says(dashboard: Host) -> None:
    assert dashboard.type("stat -c '%a %U %G' /etc/vmha/web").split() == ["700", "vmha-web", "vmha-web"]
    assert dashboard.type("systemctl is-enabled vmha-web").split() == ["enabled"]
    pid = main_pid(dashboard, "vmha-web")
    assert dashboard.run("stat", "-c", "%U", f"/proc/{pid}") == "vmha-web"


def test_program_asks_with_a_token_as_the_page_says(dashboard: Host) -> None:
    dashboard.type("vmha vm add web --xml /opt/vmha/bin/web.xml")
    *_, answer = Typist(dashboard).type_all(page("docs/reference/api.md"), "", "host")
    assert '"name":"web"' in answer.replace(" ", "")


def test_agent_that_is_restarted_after_an_upgrade_takes_its_session_up_again(host: Host) -> None:
    def session() -> str:
        told = host.run("etcdctl", "get", "--print-value-only", "/vmha/vmha/nodes/kvm1/session")
        return str(json.loads(told)["session"]) if told else ""

    def hold(profile: str) -> None:
        host.type(f"vmha apply --yes - <<'END'\nconfig: {profile}\nEND")

    look_until(lambda: is_online(host), what="it is online", **PATIENT)
    before = session(), main_pid(host, "vmha-agent")
    hold(PATIENCE)  # on a busy machine an agent takes many seconds to begin
    guard = "cat /run/vmha/guard.json"
    look_until(lambda: '"hold_s":60' in host.type(guard).replace(" ", ""), what="its guard holds longer", **PATIENT)
    Typist(host).type_all(page("docs/howto/upgrade.md"), "host")
    assert main_pid(host, "vmha-agent") not in ("0", before[1])
    look_until(lambda: is_online(host), what="it is online again", **PATIENT)
    hold("{profile: default}")
    assert session() == before[0] != ""


@pytest.mark.parametrize("name", ["docs/howto/from-rgmanager.md", "docs/howto/from-pacemaker.md"])
def test_guard_and_agent_are_begun_where_other_software_was(host: Host, name: str) -> None:
    host.type("systemctl disable --now vmha-agent vmha-guard")
    Typist(host).type_all(page(name), "host")
    assert host.is_active("vmha-guard", "vmha-agent")
    assert host.type("systemctl is-enabled vmha-guard vmha-agent").split() == ["enabled", "enabled"]
    look_until(lambda: is_online(host), what="it is online", **PATIENT)


def test_autostart_mark_is_taken_off_as_the_page_says(host: Host) -> None:
    host.type("virsh define /opt/vmha/bin/web.xml && virsh autostart web")
    assert "web" in host.type("virsh list --all --autostart --name")
    Typist(host).type_all(page("docs/howto/from-rgmanager.md"), "libvirt")
    assert host.type("virsh list --all --autostart --name").strip() == ""
    assert host.type("virsh list --all --name && virsh undefine web").startswith("web")


def test_libvirtd_listens_for_migrations_by_tcp_as_the_page_says(host: Host) -> None:
    Typist(host).type_all(page(TRANSPORTS), "tcp")
    assert "Id" in host.type("virsh -c qemu+tcp://127.0.0.1/system list")


def test_libvirtd_lets_hosts_alone_in_by_tls_as_the_page_says(host: Host, tmp_path: Path) -> None:
    pki = Authority.create(tmp_path / "pki", cluster="vmha", now=now(), days=2)
    node = pki.issue(Kind.NODE, "kvm2", ("127.0.0.1",), now=now(), days=2).folder
    alice = pki.issue(Kind.OPERATOR, "alice", (), now=now(), days=2).folder
    host.type(f"cp -r {node} {CHECKOUT}")
    Typist(host).type_all(page(TRANSPORTS), "tls")
    assert "Id" in host.type("virsh -c qemu+tls://127.0.0.1/system list")
    host.type(
        f"cd {alice}; mkdir as; cp ca.pem as/cacert.pem; cp cert.pem as/clientcert.pem; cp key.pem as/clientkey.pem"
    )
    with pytest.raises(AssertionError, match="TLS"):
        host.type(f"virsh -c 'qemu+tls://127.0.0.1/system?pkipath={alice}/as' list")


def test_etcd_is_restored_from_a_snapshot_as_its_page_says(host: Host) -> None:
    look_until(lambda: is_online(host), what="it is online", **PATIENT)
    text = page("docs/howto/disaster-recovery.md").replace("3 of 3 online", "1 of 1 online")
    Typist(host).type_all(text, "", "host", as_written=True)
    assert host.type("stat -c %U /var/lib/etcd/default").split() == ["etcd"]
    assert host.type("test -e /var/lib/etcd/default.lost && systemctl is-active etcd").split() == ["active"]
