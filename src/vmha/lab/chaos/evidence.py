"""Everything that is needed to find out why a round went wrong, copied out of the lab before it goes on or goes away.

::

    outcome.json    the round as drawn, what was done when, the facts, the violations
    journal.jsonl   the cluster's journal; keys.json: everything else in its key tree
    *.img           the witness disks
    events.jsonl    power, cables, watchdogs, writers of the disks: the lab's own record
    HOST/           logs of agent, guard, libvirtd, QEMUs and etcd; now.txt: processes and what vmha keeps in /run
"""

import asyncio
import json
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from vmha.lab.chaos.cluster import Cluster
from vmha.lab.chaos.inside import Inside
from vmha.lab.chaos.judge import Outcome
from vmha.lab.layout import LabDir, LabSpec
from vmha.model.errors import VmhaError

_NOW = (
    "ps -eo pid,ppid,stat,etimes,args; echo; cat /run/vmha/*.json 2>/dev/null; echo;"
    " timeout 2 virsh list --all 2>&1; tail -n 20 /run/vmha-lab/*.pid; dmesg 2>/dev/null | tail -n 5"
)


async def keep_evidence(where: Path, lab: LabDir, cluster: Cluster, inside: Inside, outcome: Outcome) -> None:
    """Copy what can be had; what can not is left out, because the rest is still worth having."""
    files = {"outcome.json": json.dumps(outcome.to_dict(), indent=1, default=str)}
    with suppress(VmhaError):
        entries = [asdict(entry) for entry in await cluster.journal()]
        files["journal.jsonl"] = "".join(f"{json.dumps(entry, default=str)}\n" for entry in entries)
    with suppress(VmhaError):
        keys = {kv.key: _plain(kv.value) for kv in await cluster.everything() if "/journal/" not in kv.key}
        files["keys.json"] = json.dumps(keys, indent=1)
    spec = LabSpec.from_json(lab.spec.read_text())
    for node in spec.nodes:
        with suppress(OSError):
            files[f"{node.name}/now.txt"] = (await inside.run(node.name, _NOW, timeout_s=5)).text
    await asyncio.to_thread(_write, where, lab, spec, files)


def _plain(value: str | bytes) -> object:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    try:
        return json.loads(text)
    except ValueError:
        return text


def _write(where: Path, lab: LabDir, spec: LabSpec, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in (lab.events, lab.log, *sorted(lab.storage.glob("*.img"))):
        with suppress(OSError):
            shutil.copyfile(path, where / path.name)
    for node in spec.nodes:
        for folder in ("vmha", "libvirt"):
            logs = lab.node(node.name) / "var/log" / folder
            if logs.is_dir():
                with suppress(OSError, shutil.Error):
                    shutil.copytree(logs, where / node.name / folder, dirs_exist_ok=True)
