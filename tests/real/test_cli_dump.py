"""``vmha dump`` as it is typed on a host: what is in it of the host's logs, and what is not."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.etcd import RealEtcd
from tests.support.said import Said, command_line
from vmha.cli.exits import ExitCode

pytestmark = pytest.mark.real

OF_BMC, OF_PEERS, OF_NOBODY = "s3cr3t-of-the-bmc", "s3cr3t-of-peers", "s3cr3t-known-to-nobody"
DOCUMENT = (
    "config: {fencing: {secrets: stored}}\n"
    f"nodes:\n  - name: h1\n    fence: [{{agent: fence_ipmilan, options: {{ip: 10.0.0.1, password: {OF_BMC}}}}}]\n"
)

JOURNALCTL = f"""#!/bin/sh
# The host's journal: one unit has logged, and too much.
case "$*" in
*--unit=vmha-agent*)
    echo '2026-11-29T19:33:19+0000 kvm1 vmha-agent[7]: {{"event": "not fenced", "why": "-P {OF_BMC}: timeout"}}'
    echo '2026-11-29T19:33:20+0000 kvm1 vmha-agent[7]: {{"event": "refused", "said": "token={OF_NOBODY} by h2"}}'
    ;;
esac
"""


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as running:
        yield running


@pytest.fixture
def vmha(
    etcd: RealEtcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """On a host with settings, a secret of the peers, and a journal."""
    (tmp_path / "peers.secret").write_text(OF_PEERS)
    settings = f'cluster = "dumped"\nnode = "h1"\nendpoints = ["{etcd.endpoints[0]}"]\n'
    (tmp_path / "vmha.toml").write_text(f'{settings}peers_secret_file = "{tmp_path}/peers.secret"\n')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/journalctl").write_text(JOURNALCTL)
    (tmp_path / "bin/journalctl").chmod(0o755)
    monkeypatch.setenv("VMHA_CONFIG", str(tmp_path / "vmha.toml"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    call = command_line(capfd)
    (tmp_path / "cluster.yaml").write_text(DOCUMENT)
    assert call("apply", tmp_path / "cluster.yaml").code == 0
    return call


def test_logs_of_the_host_are_in_it_and_no_secret_of_theirs(vmha: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "agent.log").write_text(f"peer h2 said {OF_PEERS}: refused\nlast line\n")
    file = tmp_path / "dump.json"
    assert vmha("dump", file, "--log", tmp_path / "agent.log").code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert [secret for secret in (OF_BMC, OF_PEERS, OF_NOBODY) if secret in text] == []
    told = json.loads(text)
    assert told["keys"]["nodes/h1/spec"]["value"]["fence"][0]["options"]["ip"] == "10.0.0.1"
    host = told["host"]
    assert host["settings"]["node"] == "h1"
    assert list(host["logs"]) == ["vmha-agent"]
    first, second = host["logs"]["vmha-agent"]
    assert '"event": "not fenced", "why": "-P (taken out): timeout"' in first
    assert "token=(taken out) by h2" in second
    assert host["files"][str(tmp_path / "agent.log")] == ["peer h2 said (taken out): refused", "last line"]


SCREEN = "s3cr3t-of-the-screen"
XML = "<domain type='qemu'><name>{0}</name><memory unit='MiB'>64</memory><devices>{1}</devices></domain>"


def test_password_of_a_screen_is_warned_of_when_it_comes_and_is_nowhere_but_in_the_definition(
    vmha: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / "web.xml").write_text(XML.format("web", f"<graphics type='vnc' passwd='{SCREEN}'/>"))
    (tmp_path / "db.xml").write_text(XML.format("db", ""))
    warns = "passwd of <graphics type='vnc'> can be read by everybody who reads the cluster"
    added, plain = (vmha("vm", "add", name, "--xml", tmp_path / f"{name}.xml") for name in ("web", "db"))
    assert (warns in added.err, plain.err) == (True, "")
    (tmp_path / "db.xml").write_text(XML.format("db", f"<graphics type='vnc' passwd='{SCREEN}'/>"))
    assert warns in vmha("vm", "edit", "db", "--xml", tmp_path / "db.xml").err
    assert vmha("vm", "edit", "db", "--priority", "7").err == ""
    (tmp_path / "web.yaml").write_text(vmha("export").out.replace(SCREEN, f"{SCREEN}-2"))
    applied = vmha("apply", tmp_path / "web.yaml", "--yes")
    found = vmha("doctor", "--no-fence", "--timeout", "1")
    assert warns in applied.err
    assert f"web: {warns} [vm-secret-readable]" in found.out
    assert "[fence-secrets-stored]" in found.out
    asked = (
        ("status",),
        ("events",),
        ("vm", "show", "web"),
        ("vm", "show", "web", "--json"),
        ("vm", "why", "web"),
        ("vm", "story", "web"),
        ("dump",),
    )
    said = [added, applied, found, *(vmha(*words) for words in asked)]
    assert [one for one in said if SCREEN in one.out + one.err] == []
    assert SCREEN in vmha("vm", "show", "web", "--xml").out, "as it is: it can be applied again"


def test_without_the_host_there_is_nothing_of_it_and_a_log_that_is_not_there_is_named(
    vmha: Callable[..., Said], tmp_path: Path
) -> None:
    assert "host" not in vmha("dump", "--no-host").json
    missing = vmha("dump", tmp_path / "none.json", "--log", tmp_path / "no.log")
    assert missing.code == ExitCode.BAD_INPUT
    assert "--log" in missing.err
    assert "no.log" in missing.err
    assert not (tmp_path / "none.json").exists()
