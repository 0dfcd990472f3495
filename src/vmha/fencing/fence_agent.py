"""Fence agents: programs of the FenceAgentAPI (fence_ipmilan, fence_virsh, a site's own) that cut a node's power.

The API, as the fence-agents project defines it: options as ``key=value`` lines on standard input, ``action`` among
them; exit code 0 is success; for ``action=status`` 0 means the power is on, 2 that it is off, anything else that it
could not be told.

Promise: ``power_off`` is ``confirmed`` only when a program said that it switched the power off *and* a status asked
for afterwards said "off", of every device whose role is to verify as well. Before each attempt to switch, the caller
is asked whether it is still to be done: a node that came back meanwhile must not be hit by a retry. A program that
hangs is ended with everything it started in its process group; one that lies, prints garbage or is missing is a result
with words, not an exception. Options never appear on a command line (any user may read those), nor do secret values in
a message.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import cast

from vmha.fencing.power import Halt, always
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName
from vmha.model.secret_names import names_a_secret
from vmha.model.vm import FenceRole

# Where distributions put fence agents, beside PATH: a service's PATH often lacks sbin.
AGENT_PATH = "/usr/sbin:/usr/local/sbin:/sbin"
MAX_STDERR_BYTES = 4096
MAX_STDOUT_BYTES = 256 * 1024  # metadata is some tens of kilobytes of XML
MAX_WORDS = 400
# How long output may still come after the program itself has ended: a helper it left behind may hold the pipe.
DRAIN_S = 0.2
REAP_S = 1.0
MASK = "***"


class Power(StrEnum):
    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class Trouble(StrEnum):
    """Why a program said nothing at all."""

    MISSING = "missing"  # there is none, or it can not be started
    LATE = "late"  # it was ended


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceDevice:
    """One way to cut a node's power (or its storage), or to look whether it is cut.

    Attributes:
        agent: path of the program, or its name.
        role: what it cuts; a device that verifies is never asked to switch, only for its status.
        options: what it reads on standard input. ``{node}`` in a value stands for the node's name; ``nodename`` is
            given besides. Not shown in the record's repr: passwords are among them.
        timeout_s: for one run of the program, enforced.
        retries: further attempts after the first failed one, ``retry_delay_s`` apart.
        has_status: False for a device that can not tell the power's state; its word for "off" then suffices.

    Raises:
        Rejected: an option can not be given on a line of its own.
    """

    agent: str
    role: FenceRole = FenceRole.POWER
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 20.0
    retries: int = 1
    retry_delay_s: float = 1.0
    has_status: bool = True

    def __post_init__(self) -> None:
        for key, value in self.options.items():
            if not key or set(key) & set("=\n\r\0 ") or key == "action":
                raise Rejected(f"fence agent {self.agent}: option {key!r}", accepted="a word other than action")
            if set(value) & set("\n\r\0"):
                raise Rejected(f"fence agent {self.agent}: the value of option {key}", accepted="a single line")
        if self.timeout_s <= 0 or self.retries < 0 or self.retry_delay_s < 0:
            raise Rejected(f"fence agent {self.agent}: timeout, retries or delay", accepted="no negative numbers")


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceResult:
    """What came of an action.

    Attributes:
        confirmed: the action was done; for "off": and the power is known to be off.
        role: of the device that did it.
        power: what the last status said, where one was asked.
        attempts: how often the program was started for the action itself.
        message: in words, without secrets.
        code: the exit code of the last run; negative: the signal that ended it. None: it has none, for its ``trouble``.
    """

    action: str
    node: NodeName
    agent: str
    confirmed: bool
    role: FenceRole = FenceRole.POWER
    power: Power = Power.UNKNOWN
    seconds: float = 0.0
    attempts: int = 0
    message: str = ""
    output: str = ""
    code: int | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run of a program. ``code`` is None when it could not be started or had to be ended."""

    code: int | None
    message: str
    output: str = ""
    trouble: Trouble | None = None


async def power_off(devices: Sequence[FenceDevice], node: NodeName, *, halt: Halt = always) -> FenceResult:
    """Cut ``node``'s power with the first device that manages and can show it; the others are tried in order.

    Args:
        halt: asked right before each attempt to switch; words mean that it must not be done any more, and why.

    Returns:
        The confirmed result, or the last failed one with the messages of all.
    """
    began_at = _now()
    messages = []
    result = FenceResult(action="off", node=node, agent="", confirmed=False, message="no fence device is configured")
    for device in devices:
        if device.role is FenceRole.VERIFY:
            continue
        result = await _power_off_with(device, node, halt)
        if result.confirmed and device.role is FenceRole.POWER:
            result = await _verified(result, devices, node)
        messages.append(f"{device.agent}: {result.message}")
        if result.confirmed or await halt():
            break
    return replace(result, seconds=_now() - began_at, message="; ".join(messages) or result.message)


async def power_on(device: FenceDevice, node: NodeName) -> FenceResult:
    """Switch ``node``'s power on."""
    return await _act(device, node, "on")


async def switch_on(devices: Sequence[FenceDevice], node: NodeName, *, halt: Halt = always) -> FenceResult:
    """Give ``node`` power with the first device of that role that manages; the others are tried in order.

    One that says it is done, and whose status then says off, has not managed. ``halt``: as for ``power_off``.
    """
    messages = []
    result = FenceResult(action="on", node=node, agent="", confirmed=False, message="no fence device switches power")
    for device in devices:
        if device.role is not FenceRole.POWER:
            continue
        result = await _act(device, node, "on", halt)
        if result.confirmed:
            result = await _seen_on(result, device, node)
        messages.append(f"{device.agent}: {result.message}")
        if result.confirmed or await halt():
            break
    return replace(result, message="; ".join(messages) or result.message)


async def _seen_on(result: FenceResult, device: FenceDevice, node: NodeName) -> FenceResult:
    """A board that is asked too soon still says off; one that can not tell is believed: nothing rests on it."""
    if not device.has_status:
        return replace(result, message="power switched on, by the device's own word: it has no status")
    status = await power_status(device, node)
    for _ in range(device.retries):
        if status.power is Power.ON:
            break
        await asyncio.sleep(device.retry_delay_s)
        status = await power_status(device, node)
    if status.power is Power.OFF:
        message = f'it reported success for action "on" of {node}, but its status says that the power is off'
        return replace(result, power=status.power, confirmed=False, message=message)
    return replace(result, power=status.power, message=status.message if status.power is Power.ON else "switched on")


async def power_status(device: FenceDevice, node: NodeName) -> FenceResult:
    """Ask for the power's state, which is in ``power``; confirmed unless it could not be told."""
    began_at = _now()
    run = await _run(device, node, "status")
    power = {0: Power.ON, 2: Power.OFF}.get(run.code if run.code is not None else -1, Power.UNKNOWN)
    return FenceResult(
        action="status",
        node=node,
        agent=device.agent,
        confirmed=power is not Power.UNKNOWN,
        power=power,
        seconds=_now() - began_at,
        attempts=1,
        message=f"power is {power}" if power is not Power.UNKNOWN else run.message,
        code=run.code,
        trouble=run.trouble,
    )


async def monitor(device: FenceDevice, node: NodeName) -> FenceResult:
    """Ask whether the device itself is reachable and lets us in."""
    return await _act(device, node, "monitor")


async def metadata(device: FenceDevice, node: NodeName) -> FenceResult:
    """The program's description of itself, XML, in ``output``."""
    return await _act(device, node, "metadata")


async def _power_off_with(device: FenceDevice, node: NodeName, halt: Halt) -> FenceResult:
    cut = "storage access" if device.role is FenceRole.STORAGE else "power"
    before = await power_status(device, node) if device.has_status else None
    # A device that could not even tell its state has used up an attempt: the next device may be waiting for its turn.
    is_blind = before is not None and before.power is Power.UNKNOWN
    one_less = replace(device, retries=max(0, device.retries - 1)) if is_blind else device
    result = await _act(one_less, node, "off", halt)
    if not result.confirmed:
        return result
    if before is None:
        message = f"{cut} switched off, by the device's own word: it has no status"
        return replace(result, power=Power.UNKNOWN, message=message)
    began_at = _now()
    status = await power_status(device, node)
    for _ in range(device.retries):
        # A power supply takes a moment, and a management board that is asked too soon still says "on".
        if status.power is Power.OFF:
            break
        await asyncio.sleep(device.retry_delay_s)
        status = await power_status(device, node)
    message = {
        Power.OFF: f"{cut} was {before.power}, is off" if before.power is not Power.OFF else f"{cut} was off already",
        Power.ON: f'it reported success for action "off" of {node}, but its status says that the {cut} is on',
        Power.UNKNOWN: f'it reported success for action "off" of {node}, but then {status.message}',
    }[status.power]
    is_off = status.power is Power.OFF
    return replace(
        result, power=status.power, confirmed=is_off, message=message, seconds=result.seconds + _now() - began_at
    )


async def _verified(result: FenceResult, devices: Sequence[FenceDevice], node: NodeName) -> FenceResult:
    """Asked of everybody whose role it is to look: all must say that the power is off."""
    witnesses = [device for device in devices if device.role is FenceRole.VERIFY]
    for device, seen in zip(witnesses, await _statuses(witnesses, node), strict=True):
        if seen.power is not Power.OFF:
            said = f"power is {seen.power}" if seen.power is Power.ON else seen.message
            message = f"{result.message}; but {device.agent}, which verifies, says of {node}: {said} (expected: off)"
            return replace(result, confirmed=False, message=message)
        result = replace(result, message=f"{result.message}; {device.agent} verified it")
    return result


async def _statuses(devices: Sequence[FenceDevice], node: NodeName) -> list[FenceResult]:
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(power_status(one, node), name=f"verify-{node}-{one.agent}") for one in devices]
    return [task.result() for task in asked]


async def _act(device: FenceDevice, node: NodeName, action: str, halt: Halt = always) -> FenceResult:
    """Run the action until it succeeds, the attempts are used up, or it is not to be done any more."""
    began_at = _now()
    attempts, run = 0, _Run(code=None, message="")
    while run.code != 0 and attempts <= device.retries:
        if attempts:
            await asyncio.sleep(device.retry_delay_s)
        if why := await halt():
            run = _Run(code=None, message=f"called off: {why}")
            break
        run = await _run(device, node, action)
        attempts += 1
    return FenceResult(
        action=action,
        node=node,
        agent=device.agent,
        confirmed=run.code == 0,
        role=device.role,
        seconds=_now() - began_at,
        attempts=attempts,
        message=run.message,
        output=run.output,
        code=run.code,
        trouble=run.trouble,
    )


async def _run(device: FenceDevice, node: NodeName, action: str) -> _Run:
    program = shutil.which(device.agent, path=f"{os.environ.get('PATH', os.defpath)}:{AGENT_PATH}")
    if program is None:
        words = f"{_why_not_found(device.agent)} (action {action} of {node})"
        return _Run(code=None, message=words, trouble=Trouble.MISSING)
    options = {key: value.replace("{node}", node) for key, value in device.options.items()}
    lines = {"nodename": node, **options, "action": action}
    feed = "".join(f"{key}={value}\n" for key, value in lines.items()).encode()
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            _Program,
            program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a process group of its own, so that all it starts can be ended with it
        )
    except OSError as error:
        words = f"can not be started: {error.strerror} (action {action} of {node})"
        return _Run(code=None, message=words, trouble=Trouble.MISSING)
    stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
    stdin.write(feed)
    stdin.close()
    try:
        async with asyncio.timeout(device.timeout_s):
            await protocol.ended.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await protocol.drained.wait()
    except TimeoutError:
        _end(transport)
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_S):
                await protocol.ended.wait()
        words = f"did not answer to action {action} of {node} within {device.timeout_s:g} s and was ended"
        return _Run(code=None, message=words, trouble=Trouble.LATE)
    finally:
        # Also on cancellation: a fence program must not go on switching power when nobody waits for it.
        _end(transport)
        transport.close()
    code = transport.get_returncode()
    output = _masked(bytes(protocol.stdout).decode(errors="replace"), options)
    return _Run(code=code, message=_said(code, _one_line(_masked(protocol.said, options)), action, node), output=output)


def _said(code: int | None, words: str, action: str, node: NodeName) -> str:
    """What a run came to: what was expected, and in whose case."""
    how = f"ended by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    expected = "0 for on, 2 for off" if action == "status" else "0"
    told = f"{how}: {words}" if words else how
    return told if code == 0 else f"{told} (action {action} of {node}, expected exit code: {expected})"


def _end(transport: asyncio.SubprocessTransport) -> None:
    """Kill the program and all of its process group, if it still runs."""
    if transport.get_returncode() is None:
        with suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)


class _Program(asyncio.SubprocessProtocol):
    """Collects bounded output. Its end and the end of its output are two things: a helper may keep the pipes open."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.drained = asyncio.Event()
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._open = {1, 2}

    @property
    def said(self) -> str:
        return bytes(self.stderr or self.stdout[-MAX_STDERR_BYTES:]).decode(errors="replace")

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self.stdout += data[: MAX_STDOUT_BYTES - len(self.stdout)]
        else:
            self.stderr += data
            del self.stderr[:-MAX_STDERR_BYTES]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.ended.set()


def _why_not_found(agent: str) -> str:
    if os.path.isdir(agent):
        return "is a directory, not a program"
    if os.sep in agent and os.path.exists(agent):
        return "is not executable"
    return "no such program" if os.sep in agent else f"no such program in PATH or {AGENT_PATH}"


def _masked(text: str, options: Mapping[str, str]) -> str:
    """``text`` without the values of secret options: programs repeat their input when they fail."""
    secrets = {value for key, value in options.items() if value and names_a_secret(key)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _one_line(text: str) -> str:
    """The end of ``text`` on one line: errors come last."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[-MAX_WORDS:]


def _now() -> float:
    return asyncio.get_running_loop().time()
