"""The guest that the tests of migrations move: as wanted, at home on h1, and what is done to it."""

from pathlib import Path

from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until
from tests.lab.patience import PATIENCE, await_patience
from vmha.lab.witness import domain

ADDRESSES = {"h1": "10.97.0.1", "h2": "10.97.0.2", "h3": "10.97.0.3"}

_PAYLOAD = Path("/usr/lib/x86_64-linux-gnu/libcrypto.so.3")


def with_payload(xml: str) -> str:
    """Some MiB more in its memory, so that its migration at 1 MiB/s takes some seconds."""
    return domain.with_payload(xml, _PAYLOAD)


def document(
    xml: str,
    *,
    patient: bool = False,
    gate: str = "adopt",
    open_gate: str = "",
    on_duplicate: str = "pause",
    **migration: object,
) -> str:
    """The cluster's settings and ``web`` with its migration settings, as one document."""
    settings = "\n".join(f"      {name}: {value}" for name, value in ({"timeout_s": 60} | migration).items())
    lines = "\n".join(f"      {line}" for line in xml.splitlines())
    timing = f"  timing: {PATIENCE}\n" if patient else ""
    gates = {host: "off" if host == open_gate else gate for host in ADDRESSES}
    nodes = "".join(f"  - name: {host}\n    gate: {mode}\n" for host, mode in gates.items())
    return (
        f"config:\n  profile: tuned\n  gate: {gate}\n{timing}"
        f"nodes:\n{nodes}"
        f"vms:\n  - name: web\n    desired: running\n    failover_domain: pref\n    on_duplicate: {on_duplicate}\n"
        f"    migration:\n{settings}\n    xml: |\n{lines}\n"
    )


class Moving:
    """``web`` at home on h1, and what is done to it."""

    def __init__(self, cluster: Cluster, xml: str) -> None:
        self.cluster, self.xml = cluster, xml

    def settle(self, *, patient: bool = False, **settings: object) -> None:
        """As wanted, at home, ticking. ``patient``: hosts hold longer than anything done to their agents takes."""
        text = document(self.xml, patient=patient, **settings)  # type: ignore[arg-type]
        path = self.cluster.lab.path.parent / "web.yaml"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            self.cluster.vmha("apply", str(path), "--yes")
        if patient:
            await_patience(self.cluster)
        self.cluster.await_running("web")
        if self.cluster.vm("web")["node"] != "h1":
            self.cluster.vmha("vm", "relocate", "web", "--to", "h1", code=None)  # it may be coming home by itself
        self.cluster.await_running("web", on="h1")
        self.cluster.await_ticks("web")

    def begin(self, to: str = "h2") -> None:
        """On its way, its memory being copied."""
        self.cluster.vmha("vm", "migrate", "web", "--to", to, "--no-wait")
        self.await_arriving(to)

    def await_arriving(self, to: str = "h2") -> None:
        def is_arriving() -> bool:
            return "paused" in self.sh(to, "virsh domstate web --reason 2>/dev/null", None)

        wait_until("it is coming in", is_arriving)

    def sh(self, host: str, script: str, code: int | None = 0) -> str:
        return self.cluster.lab.sh(host, script, code=code)

    def await_peace(self) -> str:
        """One instance, running where it is held, its disk growing. Returns where."""

        def look() -> str | None:
            vm = self.cluster.vm("web")
            if vm["state"] != "running":
                return None
            states = {
                host: self.sh(host, "virsh domstate web 2>/dev/null", None)
                for host in ADDRESSES
                if self.cluster.lab.node(host)["power"] == "on" and not self.cluster.lab.node(host)["frozen"]
            }
            there = {host for host, state in states.items() if state}
            return vm["node"] if there == {vm["node"]} and states[vm["node"]] == "running" else None

        where: str = wait_until("one instance runs, where it is held", look, 60.0)
        self.cluster.await_ticks("web")
        return where

    def agent_pid(self, host: str) -> str:
        return "".join(self.sh(host, "pgrep -f '[v]mha agent'", None).split()[:1])

    def restart_agent(self, host: str) -> None:
        old = self.agent_pid(host)
        self.sh(host, f"kill -9 {old}")
        wait_until("a new agent runs", lambda: self.agent_pid(host) not in ("", old))
        self.cluster.await_all_online()

    def has_libvirtd(self, host: str) -> bool:
        """As its node says."""
        return "has no working hypervisor" not in self.cluster.vmha("node", "why", host)

    def duplicates(self) -> list[object]:
        return [entry for entry in self.cluster.journal("web") if entry["kind"] == "duplicate"]

    def boots(self) -> int:
        return int(self.cluster.lab.verdict("web")["boots"])

    def crashes(self, host: str) -> int:
        """How often its QEMU has died there without having been told to, by libvirt's log."""
        found = self.sh(host, "grep -c 'shutting down, reason=crashed' /var/log/libvirt/qemu/web.log", None)
        return int(found) if found.isdigit() else 0
