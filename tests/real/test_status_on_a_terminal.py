"""``vmha status`` on a real terminal, of a width of its own, against a real etcd."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.etcd import RealEtcd
from tests.support.terminal import DEADLINE_S, terminal

pytestmark = pytest.mark.real

OTHER_SCREEN, FORMER_SCREEN, HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H"
COLOUR = re.compile(r"\x1b\[\d+m")
NODES = "nodes:\n" + "".join(f"  - name: kvm-{number}\n" for number in range(6))


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as running:
        yield running


def vmha(etcd: RealEtcd, *args: str) -> None:
    env = {**os.environ, "VMHA_ENDPOINTS": etcd.endpoints[0], "VMHA_CLUSTER": "seen"}
    subprocess.run([sys.executable, "-m", "vmha", *args], env=env, check=True, timeout=DEADLINE_S)


def test_status_has_the_width_of_its_terminal_and_its_colours_unless_told_not_to(
    etcd: RealEtcd, tmp_path: Path
) -> None:
    (tmp_path / "nodes.yaml").write_text(NODES)
    vmha(etcd, "apply", str(tmp_path / "nodes.yaml"))
    lines: dict[int, list[str]] = {}
    for columns in (80, 200):
        with terminal("status", etcd=etcd, cluster="seen", columns=columns) as shown:
            assert shown.end() == 0
        assert COLOUR.search(shown.seen)
        lines[columns] = COLOUR.sub("", shown.seen).splitlines()
        assert max(map(len, lines[columns])) <= columns
        assert sum(line.startswith("kvm-") for line in lines[columns]) == 6
    assert len(lines[200]) < len(lines[80])
    with terminal("status", etcd=etcd, cluster="seen", columns=80, NO_COLOR="1") as shown:
        assert shown.end() == 0
    assert "\x1b" not in shown.seen
    assert shown.seen.splitlines() == lines[80]


def test_watched_status_is_drawn_over_what_was_there_and_gives_the_terminal_back(
    etcd: RealEtcd, tmp_path: Path
) -> None:
    xml = tmp_path / "watched.xml"
    xml.write_text("<domain type='qemu'><name>watched</name><memory unit='MiB'>64</memory></domain>")
    with terminal("status", "--watch", etcd=etcd, cluster="seen", columns=80) as shown:
        drawn = shown.until("no leader", after=shown.until(OTHER_SCREEN + "\x1b[?25l"))
        vmha(etcd, "vm", "add", "watched", "--xml", str(xml))
        again = shown.until(HOME, after=drawn)
        shown.until("watched", after=again)
        shown.process.send_signal(signal.SIGINT)
        shown.end()
    assert shown.seen.count(OTHER_SCREEN) == 1
    assert "\x1b[2J" not in shown.seen  # never empty in between
    assert shown.seen.rstrip().endswith(FORMER_SCREEN)
    assert "Traceback" not in shown.seen
