"""How long a guest is away: its host loses power, or its QEMU is killed.

The clock runs from the blow to the first tick of the next boot on the shared disk. The baseline is what a boot itself
takes: ``virsh create`` of the same guest on one of the hosts, agents running and the guest none of theirs, until its
first tick.
"""

from itertools import count

from bench.labs import HOSTS, Bench
from bench.measure import Run, Target, progress
from bench.ticks import now_s

CREATE = "create"
FENCED = ("power-cut.fence", "power-cut.fence-and-leader")
GUARDED = ("power-cut.guard", "power-cut.guard-and-leader")
KILLED = "qemu-kill"


def bare_create(run: Run, bench: Bench) -> None:
    host = "h2"
    path = bench.make_witness("bare-create", host)
    shell, ticks = bench.shell(host), bench.ticks("bare-create")

    def sample() -> float:
        boots = ticks.boots()
        began_s = now_s()
        shell.begin(f"virsh -q create {path}")  # it returns only after the guest has begun to run
        took_s = ticks.await_boot(boots + 1) - began_s
        shell.end()
        shell.run("virsh -q destroy bare-create")
        return took_s

    run.add(CREATE, "bare virsh create to the guest's first tick", run.repeat(sample))


def power_cuts(run: Run, bench: Bench, vm: str, names: tuple[str, str], *, at_most_s: float, by: str) -> None:
    """Of a host that holds the vm and does not lead, and of one that does both (that costs an election as well)."""
    apart, together = names
    if run.wants([apart]):
        samples = run.repeat(lambda: _power_cut(bench, vm, leads=False))
        what = f"power cut of the vm's host to its first tick elsewhere, {by}"
        run.add(apart, what, samples, baseline=CREATE, target=Target(at_most=at_most_s))
    if run.wants([together]):
        samples = run.repeat(lambda: _power_cut(bench, vm, leads=True))
        run.add(together, f"the same when that host leads as well, {by}", samples, baseline=CREATE)


def _power_cut(bench: Bench, vm: str, *, leads: bool) -> float:
    bench.await_whole()
    holder, leader = bench.await_settled(vm), bench.leader()
    if (holder == leader) is not leads:
        wanted = leader if leads else next(host for host in HOSTS if host != leader)
        bench.vmha("vm", "migrate", vm, "--to", wanted)
        holder = bench.await_settled(vm, on=wanted)
    ticks = bench.ticks(vm)
    boots = ticks.boots()
    began_s = now_s()
    bench.ask("kill", node=holder)
    took_s = ticks.await_boot(boots + 1) - began_s
    bench.await_settled(vm)
    bench.ask("start", node=holder)
    bench.await_whole()
    progress(f"{holder} lost{' with the leader' if leads else ''}: {took_s:.2f} s")
    return took_s


def qemu_kill(run: Run, bench: Bench) -> None:
    """A guest of its own for each sample: one that ends again and again is made to rest before it is started again."""

    def sample() -> float:
        vm = next(names)
        bench.add_vm(vm)
        host, ticks = bench.await_settled(vm), bench.ticks(vm)
        shell, boots = bench.shell(host), ticks.boots()
        began_s = now_s()
        shell.begin(f"kill -9 $(cat /run/libvirt/qemu/{vm}.pid)")
        took_s = ticks.await_boot(boots + 1) - began_s
        shell.end()
        bench.vmha("lab", "vm", "remove", vm)
        return took_s

    names = (f"killed-{number}" for number in count(1))
    what = "SIGKILL of the vm's QEMU to its first tick again"
    run.add(KILLED, what, run.repeat(sample), baseline=CREATE, target=Target(at_most=1.0))
