"""Shell scripts inside the lab's machines: the only way in which chaos sends a signal or calls virsh.

Each ends by itself: a tool that waits for a program that stands still is ended inside its machine after a while, so
that it does not go on when the round is over.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from vmha.lab.boxplan import python_command
from vmha.lab.layout import LabDir, LabSpec

TOOL_TIMEOUT_S = 12
_GRACE_S = 8.0
NO_ENTRANCE = 125
TIMED_OUT = 124


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How a script ended. 124: it was ended; 125: the machine is off or frozen, nothing was run."""

    code: int
    text: str

    @property
    def why_not(self) -> str:
        """'' when it succeeded, else its last line."""
        if self.code == 0:
            return ""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        # libvirt quotes the whole command line of a hook before what the hook said.
        return lines[-1].rpartition("unexpected exit status 1: ")[2] if lines else f"exit code {self.code}"


class Inside:
    def __init__(self, lab: LabDir) -> None:
        self._lab = lab
        self._spec = LabSpec.from_json(lab.spec.read_text())
        self._command = python_command(self._spec, "vmha.lab.enter")

    async def run(self, node: str, script: str, *, timeout_s: int = TOOL_TIMEOUT_S) -> Said:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            str(self._lab.path),
            node,
            *("timeout", "-k", "1", str(timeout_s), "sh", "-c", script),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=Path("/"),
        )
        try:
            async with asyncio.timeout(timeout_s + _GRACE_S):
                output, _ = await process.communicate()
        except TimeoutError:
            return Said(code=TIMED_OUT, text="its machine stands still")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Said(code=process.returncode, text=output.decode(errors="replace"))
