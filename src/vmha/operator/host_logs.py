"""The last lines of what vmha's units, and those it rests on, have logged on this host."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNITS = ("vmha-agent", "vmha-guard", "vmha-web", "libvirtd", "virtqemud", "etcd")
LINES = 5000
"""Of each unit, and of each file."""
LARGEST_BYTES = 16 << 20
TIMEOUT_S = 20.0


async def of_units(units: Sequence[str] = UNITS) -> dict[str, Any]:
    """From systemd's journal; nothing on a host without one."""
    program = shutil.which("journalctl")
    if program is None:
        return {}
    told = [(unit, await _of_unit(program, unit)) for unit in units]
    return {unit: lines for unit, lines in told if lines}


async def _of_unit(program: str, unit: str) -> list[str]:
    command = [program, "--no-pager", "--quiet", "--output=short-iso", f"--lines={LINES}", f"--unit={unit}"]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LARGEST_BYTES,
        )
    except OSError as error:
        return [f"(not read: {error})"]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, _ = await process.communicate()
    except TimeoutError:
        return [f"(not read: {program} did not end within {TIMEOUT_S:g} s)"]
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _last_lines(out)


def of_file(path: Path) -> list[str]:
    """Raises: OSError."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LARGEST_BYTES))
        return _last_lines(file.read())


def _last_lines(raw: bytes) -> list[str]:
    return raw[-LARGEST_BYTES:].decode(errors="replace").splitlines()[-LINES:]
