"""Started in the agent's unit in the agent's place: runs what the agent runs for a site, and tells how that went.

Arguments: the port of a board that speaks IPMI, on loopback, and where to write the answers, as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.support.bmc import options
from vmha.fencing.fence_agent import FenceDevice, metadata, power_off, power_on, power_status
from vmha.hooks.deliver import run_program
from vmha.model.ids import NodeName
from vmha.model.vm import FenceRole

NODE = NodeName("n2")
AGENTS = ("fence_ipmilan", "fence_virsh", "fence_scsi", "fence_mpath", "fence_apc_snmp")
HOOK = Path("/opt/vmha/bin/hook")


async def ask(port: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    ipmi = FenceDevice(agent="fence_ipmilan", options=options(port), timeout_s=60.0, retries=0)
    storage = FenceDevice(
        agent="fence_dummy",
        role=FenceRole.STORAGE,
        options={"status_file": "/run/seen/storage"},
        timeout_s=60.0,
        retries=0,
    )
    await power_on(storage, NODE)
    told["ipmi"] = (await power_off([ipmi], NODE)).message
    told["storage"] = (await power_off([storage], NODE)).message
    told["is on again"] = (await power_on(ipmi, NODE)).confirmed and str((await power_status(ipmi, NODE)).power)
    described = [(agent, await metadata(FenceDevice(agent=agent, timeout_s=60.0), NODE)) for agent in AGENTS]
    told["described"] = {agent: answer.confirmed or answer.message for agent, answer in described}
    hook = await run_program(HOOK, ("--queue", "ops"), b'{"event": "node-lost"}', timeout_s=30.0)
    told["hook"] = (hook.is_done, hook.said)
    return told


def main() -> None:
    port, answers = int(sys.argv[1]), Path(sys.argv[2])
    told = asyncio.run(ask(port))
    answers.with_suffix(".new").write_text(json.dumps(told))
    answers.with_suffix(".new").rename(answers)
    asyncio.run(asyncio.Event().wait())


if __name__ == "__main__":
    main()
