"""What happens to managed guests beside the cluster: seen, told, answered, and never answered with a second instance.

By hands with virsh: each test begins with the witness ``web`` on h1, where its failover domain wants it. By disks that
fail, watchdogs, panics and hangs: with the witness ``ailing``, there too. All end with the witness's verdict. A second
copy and a killed QEMU are in ``test_cluster``; copies that got past an open gate, in ``test_migration_faults``; what
follows when a source is lost while a hand migrates, in ``tests/sim/test_leaving.py``.
"""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.cluster import Cluster, running_cluster
from tests.lab.conftest import wait_until
from tests.lab.patience import patient
from tests.support import agent_guest
from vmha.lab.guests import add_witness
from vmha.lab.layout import LabDir
from vmha.lab.witness.disk import boot_sector
from vmha.model.clock import SystemClock

pytestmark = pytest.mark.lab

MOVE = "virsh migrate --live --p2p web qemu+tcp://{to}/system tcp://{to} {more} 2>&1"
ADDRESSES = {"h1": "10.97.0.1", "h2": "10.97.0.2", "h3": "10.97.0.3"}
TOLD_WITHIN_S = 2.0
"""From the return of a virsh to the line of the journal that says what was done about it."""

SETTINGS = "/etc/vmha/vmha.toml"
KILL_AGENT = "kill -9 $(cat /run/vmha-lab/agent.pid)"


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    for cluster in running_cluster():
        cluster.await_all_online()
        cluster.add("web", "--failover-domain", "pref")
        yield cluster


@dataclass(kw_only=True)
class Hand:
    """Somebody with a root shell on the hosts, who knows nothing of vmha."""

    cluster: Cluster
    vm: str = "web"
    clock: SystemClock = field(default_factory=SystemClock)
    began: float = 0.0
    done: float = 0.0

    def does(self, host: str, script: str, code: int | None = 0) -> str:
        self.began = self.clock.wall()
        said = self.cluster.lab.sh(host, script, code)
        self.done = self.clock.wall()
        return said

    def moves(self, source: str, target: str, more: str = "", code: int | None = 0) -> str:
        return self.does(source, MOVE.format(to=ADDRESSES[target], more=more), code)

    def is_told(self, kind: str, words: str, *, at_once: bool = True) -> None:
        """The journal says so of what was done last, and has said so in time (or whenever it was found out)."""

        def look() -> dict[str, Any] | None:
            lines = [line for line in self.cluster.journal(self.vm) if line["at"] >= self.began]
            return next((line for line in lines if line["kind"] == kind and words in line["text"]), None)

        line = wait_until(f"the journal tells of it: {kind}: {words}", look)
        assert not at_once or line["at"] - self.done < TOLD_WITHIN_S, line

    def boots(self) -> int:
        return int(self.cluster.lab.verdict(self.vm)["boots"])


@pytest.fixture
def hand(shared_cluster: Cluster) -> Iterator[Hand]:
    shared_cluster.await_all_online()
    if shared_cluster.vm("web")["node"] != "h1":
        shared_cluster.vmha("vm", "migrate", "web", "--to", "h1")
    shared_cluster.await_running("web", on="h1")
    yield Hand(cluster=shared_cluster)
    verdict = shared_cluster.lab.verdict("web")
    assert verdict["ran_twice"] is False, verdict
    assert verdict["double_writers"] == 0, verdict


def test_guest_let_stand_made_persistent_edited_and_let_go_on_by_hand_is_left_as_it_is(hand: Hand) -> None:
    cluster, boots = hand.cluster, hand.boots()
    pids = cluster.qemu_pids("h1")
    hand.does("h1", "virsh suspend web")
    hand.is_told("guest-paused", "somebody paused it on h1")
    wait_until("the status shows it", lambda: cluster.vm("web")["state"] == "paused")
    hand.does("h1", "virsh dumpxml web > /tmp/web.xml; virsh define /tmp/web.xml")
    hand.is_told("left-over", "h1's libvirt keeps a persistent definition of web")
    hand.does("h1", "EDITOR=\"sed -i 's/<on_crash>.*</<on_crash>preserve</'\" virsh edit web; virsh resume web")
    hand.is_told("guest-resumed", "it goes on at h1")
    hand.does("h1", "virsh undefine web")
    cluster.await_ticks("web")
    assert (cluster.qemu_pids("h1"), hand.boots()) == (pids, boots)


def test_guest_ended_by_hand_is_started_again_and_one_that_was_saved_is_not(hand: Hand) -> None:
    cluster, boots = hand.cluster, hand.boots()
    hand.does("h1", "virsh destroy web")
    hand.is_told("stopped", "somebody ended it by hand")
    wait_until("it boots again", lambda: hand.boots() == boots + 1)
    cluster.await_running("web", on="h1")
    hand.does("h1", "virsh shutdown web")
    hand.is_told("stopped", "its guest powered itself off")
    wait_until("it boots again", lambda: hand.boots() == boots + 2)
    cluster.await_running("web", on="h1")
    hand.does("h1", "virsh save web /var/tmp/web.save")
    hand.is_told("stopped", "somebody saved it by hand")
    wait_until("it stays down", lambda: cluster.vm("web")["state"] == "stopped")
    said = hand.does("h1", "virsh restore /var/tmp/web.save 2>&1; rm /var/tmp/web.save")
    assert "use 'vmha vm start web'" in said
    cluster.vmha("vm", "start", "web")
    cluster.await_ticks("web")
    assert hand.boots() == boots + 3


def test_guest_moved_to_a_member_is_adopted_there_although_its_agent_is_away_just_then(hand: Hand) -> None:
    cluster, boots, epoch = hand.cluster, hand.boots(), hand.cluster.vm("web")["epoch"]
    hand.moves("h1", "h2")
    hand.is_told("adopt", "adopted on h2: it was migrated there by hand")
    cluster.await_running("web", on="h2")
    said = cluster.vmha("vm", "start", "web")
    assert "web is running on h2" in said
    with patient(cluster):
        cluster.lab.sh("h3", KILL_AGENT)  # another is started at once
        hand.moves("h2", "h3")
        hand.is_told("departed", "somebody migrated it away from h2")
        wait_until("it is found there", lambda: cluster.vm("web")["node"] == "h3")
        cluster.await_ticks("web")
    assert (hand.boots(), cluster.vm("web")["epoch"]) == (boots, epoch + 2)
    assert [cluster.qemu_pids(host) for host in ("h1", "h2")] == [[], []]


def test_start_of_a_vm_waits_for_a_node_that_can_not_be_asked_and_adopts_it_where_a_hand_runs_it(hand: Hand) -> None:
    cluster, boots = hand.cluster, hand.boots()
    path = cluster.file("web.xml", cluster.lab.sh("h1", "virsh dumpxml web"))
    cluster.vmha("vm", "remove", "web")
    wait_until("the mark is off", lambda: "vmha" not in cluster.lab.sh("h1", "virsh dumpxml web"))
    hand.moves("h1", "h3")
    cluster.lab.sh("h3", "kill -STOP $(pidof libvirtd)")
    try:
        cluster.vmha("vm", "add", "web", "--xml", str(path), "--failover-domain", "pref", "--start", "--no-wait")
        wait_until("it waits for h3", lambda: "h3" in cluster.vm("web")["reason"], 20.0)
        assert [cluster.qemu_pids(host) for host in ("h1", "h2")] == [[], []]
    finally:
        hand.does("h3", "kill -CONT $(pidof libvirtd)")
    cluster.await_running("web", on="h3")
    assert any("it was found running there" in line["text"] for line in cluster.journal("web"))
    copy = f"cat > /tmp/copy.xml <<'XML'\n{cluster.lab.sh('h3', 'virsh dumpxml web')}\nXML\n"
    said = hand.does("h2", f"{copy}virsh define /tmp/copy.xml; virsh start web 2>&1", code=1)
    assert "use 'vmha vm start web'" in said
    hand.is_told("left-over", "h2's libvirt keeps a persistent definition of web")
    cluster.lab.sh("h2", "virsh undefine web")
    cluster.await_ticks("web")
    assert hand.boots() == boots


@contextmanager
def of_another_cluster(cluster: Cluster, host: str) -> Iterator[None]:
    """A host that the cluster has given up belongs to another one meanwhile."""
    both = f"{KILL_AGENT}; kill $(cat /run/vmha-lab/guard.pid)"
    foreign = "sed -i 's/^cluster = .*/cluster = \"another\"/'"
    old = cluster.lab.sh(host, "cat /run/vmha-lab/guard.pid")
    cluster.lab.sh(host, f"cp {SETTINGS} /tmp/right.toml; {foreign} {SETTINGS}; {both}", code=None)
    try:
        wait_until("another guard runs", lambda: cluster.lab.sh(host, "cat /run/vmha-lab/guard.pid") != old)
        managed = "grep another /var/lib/vmha/managed.json"
        wait_until("its gate is another cluster's", lambda: cluster.lab.sh(host, managed, code=None))
        yield
    finally:
        cluster.lab.sh(host, f"cp /tmp/right.toml {SETTINGS}; {both}", code=None)
        cluster.await_all_online()


def test_guest_moved_to_a_host_outside_is_not_started_again_and_is_adopted_when_it_is_back(hand: Hand) -> None:
    """The host is a member first, whose agent stands still: its guard would end what came in, and it is refused."""
    cluster, boots = hand.cluster, hand.boots()
    cluster.lab.sh("h3", "kill -STOP $(cat /run/vmha-lab/agent.pid)")
    wait_until("the cluster has given it up", lambda: cluster.conditions()["h3"] == "offline", 60.0)
    assert "this node's session is over" in hand.moves("h1", "h3", code=1)
    assert cluster.vm("web")["node"] == "h1"
    with of_another_cluster(cluster, "h3"):
        hand.moves("h1", "h3", more="--bandwidth 1")
        hand.is_told("leaving", "somebody is migrating it away from h1, to a host that no member has shown to be it")
        hand.is_told("departed", "somebody migrated it away from h1; it starts again only when seen, or confirmed gone")
        assert "web is departed" in cluster.vmha("vm", "start", "web", code=None)
        cluster.await_ticks("web")
        assert [cluster.qemu_pids(host) for host in ("h1", "h2")] == [[], []]
        hand.moves("h3", "h2")
        hand.is_told("adopt", "adopted on h2: it was migrated there by hand")
        cluster.await_running("web", on="h2")
    cluster.await_ticks("web")
    assert hand.boots() == boots


# Its disk's errors stop it, and come soon when the storage serves its host no more; its watchdog stops it, too.
SWITCH = "printf 'action={action}\\nplug=h1\\nmethod=storage\\n' | fence_vmha_lab"
DISK, PATIENT = ("cache='none'/>", "cache='none' error_policy='stop'/>"), ("delay='20'", "delay='1'")
WATCHDOG = ("<memballoon", "<watchdog model='ib700' action='pause'/><memballoon")
# Whether its guest has written since it was asked last: one that hangs writes nothing, and libvirt sees it run.
WRITES = """\
file=/run/$VMHA_VM.writes; before=$(cat $file 2>/dev/null)
virsh domblkstat $VMHA_VM hda | grep wr_req > $file; test "$(cat $file)" != "$before"
"""


@dataclass(kw_only=True)
class Ailing(Hand):
    """Has ``ailing`` fall ill."""

    basis: dict[str, Any]
    vm: str = "ailing"

    def settle(self, **fields: object) -> None:
        """Defined so, at home on h1, ticking."""
        document = self.cluster.file("ailing.yaml", yaml.safe_dump({"vms": [self.basis | fields]}))
        self.cluster.vmha("apply", str(document), "--yes")
        self.cluster.await_running("ailing", on="h1")
        self.cluster.await_ticks("ailing")

    def is_served(self, served: bool) -> None:
        """The storage answers h1, or not."""
        self.cluster.lab.sh("h3", SWITCH.format(action="on" if served else "off"))

    def boots_again(self, boots: int) -> None:
        wait_until("it boots again", lambda: self.boots() == boots + 1, 60.0)
        self.cluster.await_running("ailing", on="h1")
        self.cluster.await_ticks("ailing", more=2)

    def is_said(self, words: str) -> None:
        wait_until(f"it is said: {words}", lambda: words in self.cluster.vm("ailing")["reason"])

    def console(self, letter: str) -> None:
        """Held open for a while: what is closed before it has come through is lost."""
        self.does("h1", f"exec 3> $(virsh ttyconsole ailing); printf {letter} >&3; sleep 1")


@pytest.fixture(scope="module")
def ailing_xml(shared_cluster: Cluster) -> str:
    xml = add_witness(LabDir(shared_cluster.lab.path), "ailing").xml
    for old, new in (DISK, PATIENT, WATCHDOG):
        assert old in xml
        xml = xml.replace(old, new)
    return xml


@pytest.fixture
def ailing(shared_cluster: Cluster, ailing_xml: str) -> Iterator[Ailing]:
    shared_cluster.await_all_online()
    basis = {"name": "ailing", "xml": ailing_xml, "desired": "running", "failover_domain": "pref"}
    ailing = Ailing(cluster=shared_cluster, basis=basis)
    yield ailing
    ailing.is_served(True)
    shared_cluster.await_ticks("ailing")
    shared_cluster.vmha("vm", "stop", "ailing")
    shared_cluster.vmha("vm", "remove", "ailing")  # how often it ended is forgotten with it
    verdict = shared_cluster.lab.verdict("ailing")
    assert (verdict["ran_twice"], verdict["double_writers"]) == (False, 0), verdict


def test_guest_that_is_paused_is_treated_as_its_vm_says_and_whose_disk_stays_away_goes_elsewhere(
    ailing: Ailing,
) -> None:
    cluster = ailing.cluster
    ailing.settle(on_pause={"user": "restart", "io_error_relocate_after_s": 3})
    boots = ailing.boots()
    ailing.does("h1", "virsh suspend ailing", code=None)  # it may be ended before libvirt has answered
    ailing.boots_again(boots)
    assert any(
        "somebody had paused it, and on_pause says restart" in line["text"] for line in cluster.journal("ailing")
    )
    boots = ailing.boots()
    ailing.is_served(False)
    ailing.is_said("its disk failed (on_pause.io_error: resume)")
    assert cluster.await_running("ailing", not_on="h1")
    cluster.await_ticks("ailing")
    assert ailing.boots() == boots + 1
    assert any("its disk has been failing here for 3 s" in line["text"] for line in cluster.journal("ailing"))


SMALL = "/mnt/small"
FILL = f"""\
mkdir -p {SMALL} && mount -t tmpfs -o size=16k tmpfs {SMALL}
truncate -s 17M {SMALL}/full.img && printf '{{sector}}' | base64 -d | dd of={SMALL}/full.img conv=notrunc status=none"""


def test_guest_whose_disk_is_full_stands_still_and_goes_on_when_it_is_not(shared_cluster: Cluster, ailing_xml: str):
    """Its disk is a file of its own on h1, for which there is no more room after some seconds."""
    cluster = shared_cluster
    cluster.lab.sh("h1", FILL.format(sector=base64.b64encode(boot_sector()).decode()))
    driver = "<driver name='qemu' type='raw' error_policy='stop'/>"
    disk = f"<disk type='file' device='disk'>{driver}<source file='{SMALL}/full.img'/>"
    xml = re.sub(r"<disk .*</source>", disk, ailing_xml, flags=re.DOTALL).replace(">ailing<", ">full<")
    path = cluster.file("full.xml", re.sub("<uuid>.*</uuid>", "", xml))
    cluster.vmha("vm", "add", "full", "--xml", str(path), "--failover-domain", "pref", "--start")
    try:
        wait_until("it stands", lambda: "its disk failed" in cluster.vm("full")["reason"])
        pids = cluster.qemu_pids("h1")
        assert "paused (I/O error)" in cluster.lab.sh("h1", "virsh domstate full --reason")
        cluster.lab.sh("h1", f"mount -o remount,size=1m {SMALL}")
        wait_until("it goes on", lambda: cluster.vm("full")["state"] == "running")
        written = f"du -k {SMALL}/full.img | cut -f1"
        before = int(cluster.lab.sh("h1", written))
        wait_until("it writes", lambda: int(cluster.lab.sh("h1", written)) > before)
        assert cluster.qemu_pids("h1") == pids
        told = [line["kind"] for line in cluster.journal("full")]
        assert told.index("guest-paused") < told.index("resumed") < told.index("guest-resumed")
    finally:
        cluster.vmha("vm", "stop", "full")
        cluster.vmha("vm", "remove", "full")
        cluster.lab.sh("h1", f"umount {SMALL}")


def test_guest_that_is_stopped_panics_or_hangs_boots_again_and_each_is_told_apart(ailing: Ailing) -> None:
    probe = {"name": "writes", "command": [WRITES], "shell": True, "interval_s": 1, "failures": 2}
    ailing.settle(probes=[probe])
    for letter, kind, words in (
        ("W", "unwell", "its watchdog had paused it"),
        ("P", "stopped", "its guest panicked"),
        ("H", "unwell", "writes"),
    ):
        boots = ailing.boots()
        ailing.console(letter)
        ailing.boots_again(boots)
        told = [line for line in ailing.cluster.journal("ailing") if line["at"] >= ailing.began]
        assert any(line["kind"] == kind and words in line["text"] for line in told), (words, told)


AGENT_GUEST = "/var/tmp/agent-guest"
CARRY = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
FREEZE_AGENT = "sleep 1; /bin/busybox killall -STOP qemu-ga"
EXEC = {"path": "/bin/busybox", "arg": ["sh", "-c", FREEZE_AGENT]}


def carry(cluster: Cluster, host: str, source: Path, path: str) -> None:
    """A file of this machine's into a host, which has a /tmp of its own."""
    words = ["exec", host, "--", "python3", "-c", CARRY, path]
    environment = cluster.lab.environment | {"VMHA_LAB": str(cluster.lab.path)}
    with source.open("rb") as file:
        subprocess.run([*cluster.lab.command, *words], stdin=file, env=environment, check=True, timeout=30)


def test_guest_agent_opens_the_start_gate_is_ended_when_it_hangs_and_powers_its_guest_off(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    """A Linux with Debian's own qemu-guest-agent, which is frozen in the guest while the guest itself runs on."""
    cluster, hand = shared_cluster, Hand(cluster=shared_cluster, vm="talks")
    boot = agent_guest.build(tmp_path)
    cluster.lab.sh("h1", f"mkdir -p {AGENT_GUEST}")
    for file in (boot.kernel, boot.initrd):
        carry(cluster, "h1", file, f"{AGENT_GUEST}/{file.name}")
    cluster.await_all_online()
    probe = {"name": "hung", "agent": True, "start_gate": True, "interval_s": 1, "timeout_s": 2, "failures": 2}
    vm = {"name": "talks", "xml": agent_guest.domain_xml("talks", AGENT_GUEST), "desired": "running"}
    policy = {"failover_domain": "pref", "probes": [probe], "stop_timeout_s": 5, "on_guest_shutdown": "stop"}
    document = cluster.file("talks.yaml", yaml.safe_dump({"vms": [vm | policy]}))
    cluster.vmha("apply", str(document), "--yes")
    try:
        cluster.await_running("talks", on="h1")  # it counts as running when its agent has answered, not before
        assert cluster.vm("talks")["health"] == "healthy"
        pids = cluster.qemu_pids("h1")
        order = json.dumps({"execute": "guest-exec", "arguments": EXEC})
        assert '"pid"' in hand.does("h1", f"virsh qemu-agent-command talks '{order}'")
        hand.is_told("unwell", "probe hung failed 2 times in a row", at_once=False)
        wait_until("it has another QEMU", lambda: set(cluster.qemu_pids("h1")) - set(pids), 60.0)
        cluster.await_running("talks", on="h1")
        assert cluster.vm("talks")["health"] == "healthy"
        hand.does("h1", "virsh shutdown talks --mode agent", code=None)  # a guest may be off before it has answered
        hand.is_told("stopped", "its guest powered itself off", at_once=False)
        wait_until("it stays down, as its policy says", lambda: cluster.vm("talks")["state"] == "stopped")
        cluster.vmha("vm", "edit", "talks", "--shutdown-by", "agent")
        cluster.vmha("vm", "start", "talks")
        cluster.vmha("vm", "stop", "talks")
        last = "grep 'shutting down' /var/log/libvirt/qemu/talks.log | tail -n 1"
        assert "reason=shutdown" in cluster.lab.sh("h1", last), "not by force: it is deaf to its power button"
    finally:
        cluster.vmha("vm", "stop", "talks", code=None)
        cluster.vmha("vm", "remove", "talks")
        cluster.lab.sh("h1", f"rm -r {AGENT_GUEST}")
