"""A lab's verbs, each on real hosts: power, cables, freezer, watchdog, power switch."""

import json
import select
import subprocess
from collections.abc import Iterator

import pytest

from .conftest import LabRun, running_lab, wait_until

pytestmark = pytest.mark.lab

_LISTEN = """
import socket
server = socket.create_server(("0.0.0.0", 7000))
print("listening")
peer, _ = server.accept()
peer.sendall(b"hello")
input()
"""
_CONNECT = """
import socket
peer = socket.create_connection(("10.97.0.2", 7000), timeout=10)
print(peer.recv(16).decode())
input()
peer.settimeout(2)
try:
    print("eof" if peer.recv(1) == b"" else "data")
except TimeoutError:
    print("silence")
except OSError as error:
    print(error)
"""
_ARM_WATCHDOG = """
import fcntl, select, struct, sys
device = open("/dev/watchdog", "wb", 0)
fcntl.ioctl(device, 0xC0045706, struct.pack("i", 2))
print("armed")
while not select.select([sys.stdin], [], [], 0.2)[0]:
    device.write(b"x")
"""
_BOOT_STATUS = """
import fcntl, os, struct
device = open("/dev/watchdog", "wb", 0)
print(struct.unpack("i", fcntl.ioctl(device, 0x80045702, bytes(4)))[0])
device.write(b"V")
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[LabRun]:
    yield from running_lab("--nodes", "2")


@pytest.fixture
def lab(shared: LabRun) -> LabRun:
    shared.switch_everything_on()
    return shared


def test_every_machine_of_a_new_lab_is_on(lab: LabRun) -> None:
    nodes = {node["name"]: node for node in lab.status()["nodes"]}
    assert list(nodes) == ["h1", "h2", "etcd-1"]
    assert {node["power"] for node in nodes.values()} == {"on"}
    assert nodes["h2"]["address"] == "10.97.0.2"


def test_up_on_a_running_lab_says_so_and_does_nothing(lab: LabRun) -> None:
    boots = [node["boot_id"] for node in lab.status()["nodes"]]
    assert "already runs" in lab.run("up", "--no-agents", code=2)
    assert [node["boot_id"] for node in lab.status()["nodes"]] == boots


def test_command_in_a_host_sees_that_host_and_its_exit_code_comes_back(lab: LabRun) -> None:
    assert lab.sh("h2", "hostname; exit 7", code=7) == "h2"
    assert lab.sh("h1", "kill -9 $$", code=137) == ""
    assert "no-such-program" in lab.run("exec", "h1", "--", "no-such-program", code=127)


def test_hosts_have_their_own_libvirt_and_the_cluster_is_in_reach(lab: LabRun) -> None:
    uuids = {lab.sh(host, "virsh capabilities | grep '<uuid>'") for host in ("h1", "h2")}
    assert len(uuids) == 2
    lab.sh("h1", "etcdctl put greeting hello")
    assert lab.sh("h2", "etcdctl get greeting --print-value-only") == "hello"


def test_the_cluster_answers_outside_the_lab_through_its_socket(lab: LabRun) -> None:
    endpoint = lab.status()["etcd_endpoint"].replace("unix:", "unix://")
    done = subprocess.run(
        ["etcdctl", "--endpoints", endpoint, "put", "outside", "yes"],
        env=lab.environment | {"ETCDCTL_API": "3"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == "OK"
    assert lab.sh("h1", "etcdctl get outside --print-value-only") == "yes"


def test_host_comes_back_from_a_power_cut_with_its_disk_and_another_boot_id(lab: LabRun) -> None:
    lab.sh("h2", "echo kept > /var/lib/kept; echo lost > /run/lost; sync")
    before = lab.sh("h2", "cat /proc/sys/kernel/random/boot_id /etc/machine-id").split()
    lab.run("kill", "h2")
    assert lab.node("h2")["power"] == "off"
    assert "is off" in lab.run("exec", "h2", "--", "true", code=2)
    lab.run("start", "h2")
    after = lab.sh("h2", "cat /proc/sys/kernel/random/boot_id /etc/machine-id").split()
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert lab.sh("h2", "cat /var/lib/kept; test -e /run/lost || echo gone; virsh list --name") == "kept\ngone"


def test_a_power_cut_is_silent_where_a_killed_process_says_goodbye(lab: LabRun) -> None:
    heard = {}
    for way in ("killed process", "power cut"):
        with lab.spawn("h2", _LISTEN) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "listening\n"
            with lab.spawn("h1", _CONNECT) as peer:
                assert peer.stdout is not None
                assert peer.stdout.readline() == "hello\n"
                if way == "power cut":
                    lab.run("kill", "h2")
                else:
                    lab.sh("h2", "kill -9 $(pidof python3)")
                answer, _ = peer.communicate("\n", timeout=30)
                heard[way] = answer.strip()
            server.communicate("\n", timeout=30)
    assert heard == {"killed process": "eof", "power cut": "silence"}


def test_cutting_one_link_leaves_the_other_and_heals(lab: LabRun) -> None:
    reach = "for a in 10.97.0.1 10.97.1.1; do ping_ $a && echo yes || echo no; done"
    script = 'ping_() { timeout 2 bash -c "echo > /dev/tcp/$1/16509" 2>/dev/null; }; ' + reach
    lab.run("cut", "h2")
    wait_until("the cut link alone is dead", lambda: lab.sh("h2", script).split() == ["no", "yes"])
    assert lab.node("h2")["cut"] == ["lan"]
    lab.run("heal", "h2")
    lab.run("cut", "h2", "--link", "storage")
    # A link that comes up is told to the network stack up to a second later, as with a real cable.
    wait_until("the healed link alone is back", lambda: lab.sh("h2", script).split() == ["yes", "no"])
    lab.run("heal", "h2", "--link", "storage")
    wait_until("both links are back", lambda: lab.sh("h2", script).split() == ["yes", "yes"])


def test_a_cut_link_stays_cut_over_a_power_cycle(lab: LabRun) -> None:
    lab.run("cut", "h2")
    lab.run("kill", "h2")
    lab.run("start", "h2")
    assert lab.node("h2")["cut"] == ["lan"]
    assert lab.sh("h2", "cat /sys/class/net/eth0/carrier") == "0"


def test_a_frozen_host_stands_still_until_it_is_thawed(lab: LabRun) -> None:
    with lab.spawn("h2", "import sys\nfor line in sys.stdin: print(line, end='')") as echo:
        assert echo.stdin is not None
        assert echo.stdout is not None

        def say(word: str) -> None:
            assert echo.stdin is not None
            echo.stdin.write(f"{word}\n")
            echo.stdin.flush()

        say("runs")
        assert echo.stdout.readline() == "runs\n"
        lab.run("freeze", "h2")
        assert lab.node("h2")["frozen"]
        say("thawed")
        assert "frozen" in lab.run("exec", "h2", "--", "true", code=2)
        assert select.select([echo.stdout], [], [], 0)[0] == []
        lab.run("thaw", "h2")
        assert echo.stdout.readline() == "thawed\n"
        assert lab.sh("h2", "echo awake") == "awake"
        lab.run("freeze", "h2")
        lab.run("kill", "h2")
        echo.communicate(timeout=30)
    assert not lab.node("h2")["frozen"]


def test_an_armed_watchdog_resets_a_frozen_host(lab: LabRun) -> None:
    boots = lab.node("h2")["boots"]
    with lab.spawn("h2", _ARM_WATCHDOG) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "armed\n"
        assert lab.node("h2")["watchdog"]["armed"]
        lab.run("freeze", "h2")
        wait_until("the host boots again", lambda: lab.node("h2")["boots"] == boots + 1)
        holder.communicate(timeout=30)
    assert [event["node"] for event in lab.events("watchdog-fired")] == ["h2"]
    wait_until("it is up", lambda: lab.sh("h2", "virsh list >/dev/null && echo up", code=None).endswith("up"))
    assert lab.run("exec", "h2", "--", "python3", "-c", _BOOT_STATUS).strip() == "32"


def test_poweroff_leaves_a_host_off_and_reboot_brings_it_back(lab: LabRun) -> None:
    boots = lab.node("h2")["boots"]
    lab.sh("h2", "reboot", code=None)
    wait_until("it booted again", lambda: lab.node("h2")["boots"] == boots + 1)
    wait_until("it can be entered", lambda: lab.sh("h2", "echo in", code=None) == "in")
    lab.sh("h2", "poweroff -f", code=None)
    wait_until("it is off", lambda: lab.node("h2")["power"] == "off")
    assert [event["why"] for event in lab.events("machine-ended")][-2:] == ["restart", "poweroff"]


def test_a_killed_libvirtd_is_started_again_and_its_guests_live_on(lab: LabRun) -> None:
    before = lab.sh("h1", "cat /run/vmha-lab/libvirtd.pid")
    lab.sh("h1", f"kill -9 {before}")
    wait_until("another libvirtd", lambda: lab.sh("h1", "cat /run/vmha-lab/libvirtd.pid") != before)
    wait_until("it answers", lambda: lab.sh("h1", "virsh uri", code=None) == "qemu:///system")


def test_the_fence_program_cuts_power_and_tells_the_state(lab: LabRun) -> None:
    assert lab.sh("h1", "fence_vmha_lab -o list").split() == ["h1,", "h2,"]
    lab.sh("h1", "printf 'action=off\\nplug=h2\\nunknown=1\\n' | fence_vmha_lab")
    assert lab.node("h2")["power"] == "off"
    assert "OFF" in lab.sh("h1", "fence_vmha_lab --action=status --plug=h2", code=2)
    lab.sh("h1", "printf 'action=on\\nport=h2\\n' | fence_vmha_lab")
    assert "ON" in lab.sh("h1", "fence_vmha_lab -o status -n h2")
    lab.sh("h1", "printf 'action=off\\nplug=h9\\n' | fence_vmha_lab", code=1)
    lab.sh("h1", "fence_vmha_lab -o off", code=1)


def test_an_unknown_machine_is_named_with_the_near_ones_and_nothing_happens(lab: LabRun) -> None:
    assert "did you mean etcd-1?" in lab.run("kill", "etcd1", code=4)
    assert "accepted: lan" in lab.run("cut", "etcd-1", "--link", "storage", code=2)
    assert {node["power"] for node in lab.status()["nodes"]} == {"on"}


def test_an_etcd_member_keeps_its_data_over_a_power_cut(lab: LabRun) -> None:
    lab.sh("h1", "etcdctl put kept here")
    lab.run("kill", "etcd-1")
    lab.run("start", "etcd-1")
    assert lab.sh("h1", "etcdctl get kept --print-value-only") == "here"


def test_the_real_machine_is_out_of_a_hosts_reach(lab: LabRun) -> None:
    assert lab.sh("h1", "touch /usr/x 2>&1 || echo read-only").endswith("read-only")
    assert lab.sh("h1", f"ls -A {lab.path} 2>/dev/null | wc -l") == "0"
    assert lab.sh("h1", "test ! -e /proc/sysrq-trigger || stat -c %t:%T /proc/sysrq-trigger") in ("", "1:3")


def test_status_and_events_read_well_as_json(lab: LabRun) -> None:
    assert {"dir", "tier", "nodes", "storage", "stalls"} <= json.loads(lab.run("status", "--json")).keys()
    events = [json.loads(line) for line in lab.run("events", "--json").splitlines()]
    assert {event["node"] for event in events if event["event"] == "power-on"} == {"h1", "h2", "etcd-1"}
