"""One process of simulated hosts (``scale_hosts``), and the orders to it."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.scale_cluster import NotInTime

_LONGEST_LINE = 64 * 1024 * 1024
_ROOT = Path(__file__).resolve().parents[1]


class Company:
    def __init__(self, nodes: Sequence[str]) -> None:
        self.nodes = list(nodes)
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def begin(self, endpoints: list[str], cluster: str, folder: Path, *, stalls: bool = False) -> None:
        """``stalls``: it tells where its loop stood (``scale_stalls``)."""
        what = json.dumps({"endpoints": endpoints, "cluster": cluster, "folder": str(folder), "stacks": stalls})
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "bench.scale_hosts", what]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, cwd=_ROOT, limit=_LONGEST_LINE
        )

    async def do(self, what: str, **words: Any) -> Any:
        process = self._process
        assert process
        assert process.stdin
        assert process.stdout
        async with self._one_at_a_time:
            process.stdin.write(json.dumps({"do": what, **words}).encode() + b"\n")
            line = await process.stdout.readline()
        if not line:
            raise NotInTime(f"the process of {self.nodes[0]} has ended")
        return json.loads(line)

    async def end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.kill()
        await self._process.wait()
