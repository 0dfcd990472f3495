"""A cluster with something to do: a guest on each host, and one more that verbs move, stop and start all the time.

What none of the verbs is about must come out as it went in: the same QEMU, epoch and placement, one boot.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until

STILL = {"web": "h1", "db": "h2", "mail": "h3"}
"""Each with the host where it stays. The test's own fixture has the first."""
ROVER = "rover"
VERBS = (
    ("stop", ROVER),
    ("start", ROVER),
    ("migrate", ROVER, "--to", "h2"),
    ("migrate", ROVER, "--to", "h1"),
)


@dataclass(kw_only=True)
class Load:
    """``done``: the verbs that were carried out, in their order, again and again."""

    cluster: Cluster
    done: list[tuple[str, ...]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def standing(self) -> dict[str, tuple[object, ...]]:
        """Of each guest that stays: its QEMU, where it is, epoch, boots."""
        vms = {vm["name"]: vm for vm in self.cluster.status()["vms"]}
        return {
            vm: (
                self.cluster.lab.sh(host, f"cat /run/libvirt/qemu/{vm}.pid", code=None),
                *(vms[vm][name] for name in ("node", "state", "epoch")),
                self.cluster.lab.verdict(vm)["boots"],
            )
            for vm, host in STILL.items()
        }

    def await_round(self) -> None:
        """Until each verb was carried out at least once."""
        wait_until("each verb was done once", lambda: len(self.done) >= len(VERBS), 90.0)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        thread = threading.Thread(target=self._work, name="verbs")
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _work(self) -> None:
        """A verb that is refused while an agent is away is asked for again: the next one needs what it does."""
        while not self._is_over.is_set():
            verb = VERBS[len(self.done) % len(VERBS)]
            said = self.cluster.vmha("vm", *verb, "--timeout", "30", code=None)
            vm = self.cluster.vm(ROVER)
            wanted = {"migrate": "running", "start": "running", "stop": "stopped"}[verb[0]]
            if vm["state"] == wanted and (verb[0] != "migrate" or vm["node"] == verb[-1]):
                self.done.append(verb)
            else:
                self.refused.append(said)
                self._is_over.wait(0.2)

    def boots_of_the_rover(self) -> tuple[int, int]:
        """As it should be, by the starts that were asked for and the QEMUs that died by themselves; and as it is."""
        ended = f"grep -c 'shutting down, reason=crashed' /var/log/libvirt/qemu/{ROVER}.log"
        crashes = [self.cluster.lab.sh(host, ended, code=None) for host in STILL.values()]
        starts = sum(verb[0] == "start" for verb in self.done)
        wanted = 1 + starts + sum(int(one) for one in crashes if one.isdigit())
        return wanted, self.cluster.lab.verdict(ROVER)["boots"]


@contextmanager
def loaded(cluster: Cluster) -> Iterator[Load]:
    """``web`` is there already, at home."""
    more = [vm for vm in (*STILL, ROVER) if vm != "web"]
    homes = STILL | {ROVER: "h1"}
    for vm in more:
        others = [f"--member={host}:2" for host in STILL.values() if host != homes[vm]]
        cluster.vmha("domain", "add", vm, f"--member={homes[vm]}:1", *others, "--ordered", "--nofailback")
        cluster.lab.run("vm", "add", vm, "--no-wait", "--failover-domain", vm)
    try:
        for vm in more:
            cluster.await_running(vm, on=homes[vm])
        wait_until("they tick", lambda: all(cluster.lab.verdict(vm)["ticks"] for vm in more))
        yield Load(cluster=cluster)
        for vm in more:
            verdict = cluster.lab.verdict(vm)
            assert (verdict["ran_twice"], verdict["double_writers"]) == (False, 0), verdict
    finally:
        with ThreadPoolExecutor() as at_once:
            list(at_once.map(cluster.remove, more))
        for vm in more:
            cluster.vmha("domain", "remove", vm)
