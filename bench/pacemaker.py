"""Pacemaker's planner on the same cluster: crm_simulate, 1,000 primitives on 32 nodes, one node lost.

It reads a CIB, plans and prints: a whole process. The planner's plan works on records in memory, as in the leader; so
``read``, crm_simulate that only reads and prints the same CIB, stands beside it. Seconds are of the processor.

The CIB is as a cluster at its defaults writes it: each node that joined has been asked for each primitive, and its
answer stays on record (a probe: monitor, interval 0, return code 7 where it does not run). ``lean`` is the same without
these answers, the least that there can be.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench.child import Ran, ran
from bench.measure import Run, Target, progress
from bench.planner import LOST, plan_s
from bench.world import GROUP

VMS, NODES = 1000, 32
WHOLE, READ, OURS = "placement.pacemaker", "placement.pacemaker.read", "placement.pacemaker.vmha"
LEAN, OURS_TO_LEAN = "placement.pacemaker.lean", "placement.pacemaker.lean.vmha"
PACEMAKER = (WHOLE, READ, LEAN, OURS, OURS_TO_LEAN)
PACKAGE = "pacemaker-cli-utils"
_UUID = "5f0c9a67-0000-4000-8000-000000000000"
_NOT_RUNNING = 7
"""Return code of a probe, OCF_NOT_RUNNING; 7 is also what the transition expected."""
_NO_PARAMETERS = "f2317cad3d54cec5d7d7aa7d0bf35cf8"
"""Pacemaker's digest of an empty set of parameters; without it each resource would be restarted."""


def pacemaker(run: Run) -> None:
    program = shutil.which("crm_simulate", path="/usr/sbin:/usr/bin:/sbin")
    if program is None:
        progress(f"{WHOLE}: not measured, there is no crm_simulate here (Debian: apt-get install {PACKAGE})")
        return
    lost = len(range(LOST, VMS, NODES))
    size = f"{VMS:,} primitives x {NODES} nodes"
    with _written(probed=True) as cib:
        whole = [_run(program, cib, lost) for _ in range(run.samples)]
        run.add(WHOLE, f"crm_simulate --run, {size}, all probed, one lost", [one.cpu_s for one in whole])
        run.add(f"{WHOLE}.memory", "its peak memory", [one.peak_mib for one in whole], unit="MiB")
        read = [_run(program, cib).cpu_s for _ in range(run.samples)]
        run.add(READ, "crm_simulate, the same, read and printed", read)
    with _written(probed=False) as cib:
        lean = [_run(program, cib, lost).cpu_s for _ in range(run.samples)]
        run.add(LEAN, f"crm_simulate --run, {size}, no probe on record, one lost", lean)
    ours = run.repeat(lambda: plan_s(VMS, NODES, lost=LOST, expected=lost))
    run.add(OURS, "full plan of the same", ours, baseline=WHOLE, target=Target(at_most=0.01, is_ratio=True))
    run.add(OURS_TO_LEAN, "the same plan", ours, baseline=LEAN)


@contextmanager
def _written(*, probed: bool) -> Iterator[str]:
    """The path of such a CIB."""
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as cib:
        cib.write("".join(_cib(probed=probed)))
        cib.flush()
        yield cib.name


def _run(program: str, cib: str, starts: int | None = None) -> Ran:
    """``starts``: how many it must plan; None: it plans nothing."""
    done = ran([program, "--xml-file", cib, *(["--run"] if starts is not None else [])])
    planned = re.findall(r"^ +\* (Start|Restart|Move|Stop) ", done.said, re.MULTILINE)
    if starts is not None and planned != ["Start"] * starts:
        progress(f"{WHOLE}: {len(planned)} actions, {starts} starts were expected: the measure proves nothing")
    return done


def _cib(*, probed: bool) -> Iterator[str]:
    yield '<cib crm_feature_set="3.16.2" validate-with="pacemaker-3.7" admin_epoch="0" epoch="1" num_updates="1" '
    yield 'have-quorum="1" dc-uuid="1"><configuration><crm_config><cluster_property_set id="options">'
    for name, value in (("stonith-enabled", "false"), ("enable-startup-probes", str(probed).lower())):
        yield f'<nvpair id="{name}" name="{name}" value="{value}"/>'
    yield "</cluster_property_set></crm_config><nodes>"
    for node in range(NODES):
        yield f'<node id="{node + 1}" uname="node-{node}"/>'
    yield "</nodes><resources>"
    for vm in range(VMS):
        yield f'<primitive id="vm-{vm}" class="ocf" provider="pacemaker" type="Dummy"/>'
    yield "</resources><constraints>"
    for vm in range(VMS):
        home = vm % NODES
        for step in range(GROUP):
            node = home - home % GROUP + (home + step) % GROUP
            score = 100 * (GROUP - step)
            yield f'<rsc_location id="vm-{vm}-{step}" rsc="vm-{vm}" node="node-{node}" score="{score}"/>'
    yield "</constraints></configuration><status>"
    for node in range(NODES):
        yield from _state(node, probed=probed)
    yield "</status></cib>"


def _state(node: int, *, probed: bool) -> Iterator[str]:
    yield f'<node_state id="{node + 1}" uname="node-{node}" '
    if node == LOST:
        yield 'in_ccm="false" crmd="offline" join="down" expected="down"/>'
        return
    yield f'in_ccm="true" crmd="online" join="member" expected="member"><lrm id="{node + 1}"><lrm_resources>'
    for vm in range(VMS) if probed else range(node, VMS, NODES):
        runs_here = vm % NODES == node
        operation, code = ("start", 0) if runs_here else ("monitor", _NOT_RUNNING)
        yield f'<lrm_resource id="vm-{vm}" class="ocf" provider="pacemaker" type="Dummy"><lrm_rsc_op '
        yield f'id="vm-{vm}_last_0" operation_key="vm-{vm}_{operation}_0" operation="{operation}" '
        key = f"1:0:{code}:{_UUID}"
        yield f'crm_feature_set="3.16.2" transition-key="{key}" transition-magic="0:{code};{key}" '
        yield f'call-id="1" rc-code="{code}" op-status="0" '
        yield f'op-digest="{_NO_PARAMETERS}" interval="0" on_node="node-{node}"/></lrm_resource>'
    yield "</lrm_resources></lrm></node_state>"
