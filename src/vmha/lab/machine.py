"""One machine seen from outside: its power, its cables, its freezer and its watchdog.

::

              power_on                     boot()
      OFF ----------------> ASSEMBLED ----------------> ON
       ^                                                 |
       +---- cut_power: cables first, then SIGKILL ------+  <- watchdog fired, reboot(2), the machine died

A power cut is silent: the cables are gone before the first process dies, so no dying socket says FIN or RST to a
peer. A SIGKILL alone measures nothing: peers learn of it within a second because the kernel says goodbye for the dead.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from vmha.lab import hostfiles, network
from vmha.lab.boxplan import plan_box, python_command
from vmha.lab.freezer import Freezer
from vmha.lab.fuse import FuseFile
from vmha.lab.journal import Journal
from vmha.lab.layout import Kind, LabDir, LabSpec, Link, NodeSpec
from vmha.lab.watchdog import CARD_RESET, Watchdog
from vmha.model.errors import Refused, Retryable

_ASSEMBLE_TIMEOUT_S = 30.0
_DEATH_TIMEOUT_S = 20.0
_REBOOT_S = 1.0  # what firmware takes before the next boot begins, shortened
# How reboot(2) ends the init of a pid namespace.
_END_WORDS: dict[int, str] = {signal.SIGHUP: "restart", signal.SIGINT: "poweroff"}


class MachineFailed(Retryable):
    """A machine did not come up; the message quotes its own last words."""


class Power(StrEnum):
    OFF = "off"
    ASSEMBLED = "assembled"
    ON = "on"


class Machine:
    """Owned by the lab's pid 1. Every verb may be called in any state and does nothing when there is nothing to do."""

    def __init__(
        self, spec: LabSpec, node: NodeSpec, *, freezer: Freezer, journal: Journal, with_watchdog: bool
    ) -> None:
        self.node = node
        self.power = Power.OFF
        self.boots = 0
        self.boot_id = ""
        self.is_frozen = False
        self.cut: frozenset[Link] = frozenset()
        self.watchdog: Watchdog | None = None
        self.pidfd: int | None = None
        self.pid: int | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._spec = spec
        self._freezer = freezer
        self._journal = journal
        self._with_watchdog = with_watchdog and node.kind is Kind.HOST
        self._directory = LabDir(Path(spec.dir)).node(node.name)
        self._device: FuseFile | None = None
        self._go_fd: int | None = None
        self._said: asyncio.StreamReader | None = None
        self._heard: dict[str, str] = {}
        self._boot_status = 0
        self._gone = asyncio.Event()
        self._gone.set()
        self._lock = asyncio.Lock()
        self._is_ending = False
        self._reset: asyncio.Task[None] | None = None
        self._reboot: asyncio.Task[None] | None = None

    # -- power ---------------------------------------------------------------------------------------------------

    async def power_on(self) -> None:
        """Returns when init runs; what the machine serves takes a little longer."""
        async with self._lock:
            self._forget_reboot()
            await self._assemble_or_clean()
            self._boot()

    async def assemble(self) -> None:
        """Build the machine up to the point where its network is up and nothing else runs yet."""
        async with self._lock:
            self._forget_reboot()
            await self._assemble_or_clean()

    async def boot(self) -> None:
        """Let an assembled machine run."""
        async with self._lock:
            self._boot()

    async def cut_power(self, *, why: str) -> None:
        """Returns when nothing of the machine runs any more."""
        async with self._lock:
            self._forget_reboot()
            if self.power is not Power.OFF:
                self._journal.note("power-cut", node=self.node.name, why=why)
                await self._cut_power()

    async def _assemble_or_clean(self) -> None:
        if self.power is not Power.OFF:
            return
        try:
            async with asyncio.timeout(_ASSEMBLE_TIMEOUT_S):
                await self._assemble()
        except (MachineFailed, network.NetworkError, OSError, TimeoutError):
            await self._cut_power()
            raise

    def _boot(self) -> None:
        if self.power is not Power.ASSEMBLED:
            return
        self._say_go()
        self._close_go()
        self.power = Power.ON
        self._journal.note("power-on", node=self.node.name, boot=self.boots, boot_id=self.boot_id)
        self.on_change()

    async def _assemble(self) -> None:
        hostfiles.prepare(self._spec, self.node, self._directory)
        self.boot_id = hostfiles.new_uuid()
        plan = self._directory / "box.json"
        plan.write_text(plan_box(self._spec, self.node, self.boot_id).to_json())
        self._open_watchdog()
        await self._spawn(plan)
        await self._hear("mounted")
        if self._device is not None:
            self._device.serve()
        assert self.pid is not None
        self._freezer.admit(self.pid)
        await network.unplug(self.node)  # of a machine that died without our doing
        await network.plug(self.node, self.pid, self.cut)
        self._say_go()
        await self._hear("connected")
        self.power = Power.ASSEMBLED
        self.boots += 1

    def _open_watchdog(self) -> None:
        if not self._with_watchdog:
            return
        self.watchdog = Watchdog(self._on_watchdog, boot_status=self._boot_status)
        self._boot_status = 0
        self._device = FuseFile(self.watchdog)

    async def _spawn(self, plan: Path) -> None:
        go_read, self._go_fd = os.pipe()
        said_read, said_write = os.pipe()
        device = [self._device.fd] if self._device is not None else []
        log = (self._directory / "var/log/vmha/init.log").open("ab")
        try:
            self._heard = {}
            self._said = await _read_lines(said_read)
            arguments = map(str, (plan, go_read, said_write, *device))
            process = await asyncio.create_subprocess_exec(
                *python_command(self._spec, "vmha.lab.box", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(go_read, said_write, *device),
            )
        finally:
            os.close(go_read)
            os.close(said_write)
            log.close()
        pid = int(await self._hear("pid"))
        await process.wait()  # the first process leaves; only then is the machine's pid 1 our own child
        self.pid, self.pidfd = pid, os.pidfd_open(pid)
        self._gone.clear()
        asyncio.get_running_loop().add_reader(self.pidfd, self._on_exit)

    async def _hear(self, step: str) -> str:
        """Wait for the box to say ``step``; returns what it said with it.

        The first process and its child speak into one pipe, so that their words may come in either order.
        """
        assert self._said is not None
        while step not in self._heard:
            line = (await self._said.readline()).decode()
            if not line:
                raise MachineFailed(f"{self.node.name} did not come up: {self._last_words()}")
            word, _, rest = line.strip().partition(" ")
            self._heard[word] = rest
        return self._heard[step]

    def _last_words(self) -> str:
        lines = (self._directory / "var/log/vmha/init.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _say_go(self) -> None:
        assert self._go_fd is not None
        with suppress(BrokenPipeError):  # it died meanwhile: its exit is on the way to us
            os.write(self._go_fd, b"g")

    def _close_go(self) -> None:
        if self._go_fd is not None:
            os.close(self._go_fd)
            self._go_fd = None

    async def _cut_power(self) -> None:
        self._is_ending = True
        try:
            await network.unplug(self.node)
            self._close_go()
            if self.pidfd is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
                # The kill is pending before the thaw: nothing in the box runs again.
                if self.is_frozen:
                    with suppress(OSError, TimeoutError):
                        await self._freezer.thaw()
                async with asyncio.timeout(_DEATH_TIMEOUT_S):
                    await self._gone.wait()
            self._settle_off()
        finally:
            self._is_ending = False

    def _on_exit(self) -> None:
        assert self.pid is not None
        assert self.pidfd is not None
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        if pid == 0:
            return  # dead, but its namespace is still being emptied: the descriptor stays readable
        asyncio.get_running_loop().remove_reader(self.pidfd)
        os.close(self.pidfd)
        self.pidfd = None
        self._gone.set()
        if self._is_ending or self.power is Power.OFF:
            return  # we are switching it off, or it failed to come up: who does that goes on
        why = _END_WORDS.get(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, "died")
        self._journal.note("machine-ended", node=self.node.name, why=why)
        self._settle_off()
        if why == "restart":
            self._reboot_later(boot_status=0)

    def _settle_off(self) -> None:
        self.power, self.is_frozen, self.pid = Power.OFF, False, None
        if self.watchdog is not None:
            self.watchdog.disarm()
        if self._device is not None:
            self._device.close()
        self.watchdog, self._device = None, None
        self._freezer.discard()
        self.on_change()

    # -- what the machine does by itself -------------------------------------------------------------------------

    def _on_watchdog(self) -> None:
        self._journal.note("watchdog-fired", node=self.node.name)
        self._reset = asyncio.create_task(self._reset_by_watchdog(self.boot_id), name=f"reset {self.node.name}")

    async def _reset_by_watchdog(self, boot_id: str) -> None:
        async with self._lock:
            if self.power is not Power.OFF and self.boot_id == boot_id:
                await self._cut_power()
                self._reboot_later(boot_status=CARD_RESET)

    def _reboot_later(self, *, boot_status: int) -> None:
        """A verb of the operator forgets this again: a host that was switched off must not come back by itself."""

        async def reboot() -> None:
            await asyncio.sleep(_REBOOT_S)
            async with self._lock:
                self._reboot = None
                self._boot_status = boot_status
                try:
                    await self._assemble_or_clean()
                    self._boot()
                except (Retryable, OSError, TimeoutError) as error:
                    self._journal.note("machine-failed", node=self.node.name, error=str(error))

        self._reboot = asyncio.create_task(reboot(), name=f"reboot {self.node.name}")

    def _forget_reboot(self) -> None:
        """Only under the lock: a reboot that holds it is past being forgotten."""
        if self._reboot is not None:
            self._reboot.cancel()
            self._reboot = None

    # -- cables and freezer --------------------------------------------------------------------------------------

    async def set_link(self, link: Link, *, up: bool) -> None:
        """A cut outlives a power cycle: the cable is still out when the machine comes back."""
        async with self._lock:
            self.cut = self.cut - {link} if up else self.cut | {link}
            self._journal.note("heal" if up else "cut", node=self.node.name, link=link)
            if self.power is not Power.OFF:
                await network.set_link(self.node, link, up=up)
            self.on_change()

    async def freeze(self) -> None:
        async with self._lock:
            self._must_be_on()
            if not self.is_frozen:
                self._journal.note("freeze", node=self.node.name)
                self.is_frozen = True
                await self._freezer.freeze()
                self.on_change()

    async def thaw(self) -> None:
        async with self._lock:
            self._must_be_on()
            if self.is_frozen:
                await self._freezer.thaw()
                self.is_frozen = False
                self._journal.note("thaw", node=self.node.name)
                self.on_change()

    def entrance(self) -> list[int]:
        """File descriptors by which another process joins this machine: its pid 1, and its freezer when it has one.

        The caller closes the second one.
        """
        self._must_be_on()
        if self.is_frozen:
            raise Refused(f"{self.node.name} is frozen; thaw it first: vmha lab thaw {self.node.name}")
        assert self.pidfd is not None
        freezer = self._freezer.entrance()
        return [self.pidfd] if freezer is None else [self.pidfd, freezer]

    def _must_be_on(self) -> None:
        if self.power is not Power.ON:
            raise Refused(f"{self.node.name} is off; switch it on first: vmha lab start {self.node.name}")


async def _read_lines(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader
