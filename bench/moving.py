"""What a live migration by vmha costs over libvirt's own.

Both move the same kind of guest between the same hosts, taking turns, so that whatever else the machine does disturbs
both alike. Beside the command's wall time stands the request's own duration, from its asking to the leader's word that
it is done, without the start of a process; and the longest time the guest did not tick.
"""

import time

from bench.labs import Bench
from bench.measure import Run, Target
from bench.ticks import now_s

VIRSH = "virsh-migrate"
SAFE, DIRECT = "migrate.safe", "migrate.libvirt"
_TARGETS = {SAFE: 1.8, DIRECT: 1.3}
_AFTERWARDS_S = 0.5
"""The guest ticks nine times a second: by then it has ticked again."""


def migrations(run: Run, bench: Bench, vm: str) -> None:
    names = [name for name in (SAFE, DIRECT) if run.wants([name])]
    path = bench.make_witness("bare-move", "h2")
    bench.shell("h2").run(f"virsh -q create {path}")
    bench.ticks("bare-move").await_boot(1)
    bare: list[tuple[float, float]] = []
    managed: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    _bare(bench, "h2", "h3")  # the first meeting of two hosts costs more
    where = "h3"
    for name in names:
        bench.vmha("vm", "edit", vm, "--handover", "safe" if name == SAFE else "libvirt")
        for _ in range(run.samples):
            there = "h2" if where == "h3" else "h3"
            bare.append(_bare(bench, where, there))
            where = there
            managed[name].append(_managed(bench, vm))
    run.add(VIRSH, "virsh migrate --live --p2p of an unmanaged guest, wall time", [took for took, _ in bare])
    run.add(f"{VIRSH}.gap", "its longest time without a tick", [gap for _, gap in bare])
    for name, found in managed.items():
        how = "the target left paused until its claim is recorded" if name == SAFE else "switched by libvirt"
        target = Target(at_most=_TARGETS[name], is_ratio=True)
        run.add(name, f"vmha vm migrate, wall time, {how}", [s[0] for s in found], baseline=VIRSH, target=target)
        run.add(f"{name}.request", "from asking to the leader's done", [s[1] for s in found], baseline=VIRSH)
        run.add(f"{name}.gap", "longest time without a tick", [s[2] for s in found], baseline=f"{VIRSH}.gap")


def _bare(bench: Bench, source: str, target: str) -> tuple[float, float]:
    """Wall time and longest gap, in seconds."""
    bench.shell(source)
    bench.ask("mark", export="bare-move")
    began_s = now_s()
    bench.migrate_bare("bare-move", source, target)
    return now_s() - began_s, _gap_s(bench, "bare-move")


def _managed(bench: Bench, vm: str) -> tuple[float, float, float]:
    """Wall time, the request's own duration, and longest gap, in seconds."""
    here = bench.await_settled(vm)
    there = {"h1": "h2", "h2": "h3", "h3": "h1"}[here]
    bench.ask("mark", export=vm)
    began_s = now_s()
    bench.vmha("vm", "migrate", vm, "--to", there)
    took_s = now_s() - began_s
    snapshot = bench.read()
    last = max(snapshot.requests.values(), key=lambda request: request.asked_at)
    return took_s, snapshot.outcomes[last.id].at - last.asked_at, _gap_s(bench, vm)


def _gap_s(bench: Bench, export: str) -> float:
    time.sleep(_AFTERWARDS_S)
    return float(bench.ask("storage")[export]["longest_gap_s"])
