"""``vmha agent``: the member on a real host, from its settings file to its orderly end."""

import asyncio
import contextlib
import fcntl
import os
import signal
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from vmha.fencing.gate_files import GateFiles
from vmha.fencing.guard_client import GuardClient
from vmha.fencing.qemu_processes import QemuProcesses
from vmha.fencing.unsent import forget_unsent_of
from vmha.hooks.deliver import HostDelivery
from vmha.hypervisor.real.adapter import LibvirtHypervisor
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import Keys
from vmha.node.address import own_address
from vmha.node.leaving import AGENT_LOCK, Left, Word, read_word, take_word, tell
from vmha.node.logs import set_up_logging
from vmha.node.machine import read_host
from vmha.node.member import Member, Ports
from vmha.node.peers import open_channel
from vmha.node.power import FenceAgents
from vmha.node.responsive import responsive
from vmha.node.settings import NodeSettings, read_settings
from vmha.node.stalls import Stalls
from vmha.node.traces import traces
from vmha.probing.real import NodeProbes
from vmha.store.channels import load_login
from vmha.store.etcd import EtcdStore
from vmha.store.metered import Metered
from vmha.store.tls_files import TlsFiles

log = structlog.get_logger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class HostIdentity:
    """This host, in this boot."""

    node: NodeName
    address: str
    boot_id: str = field(default_factory=lambda: BOOT_ID.read_text().strip())
    host: str = field(default_factory=read_host)

    def new_session(self) -> SessionId:
        return SessionId(f"{self.node}-{self.boot_id[:8]}-{os.urandom(4).hex()}")


def run(config_path: Path) -> None:
    """Blocks until SIGTERM or SIGINT, which leave every guest and the session as they are. SIGUSR1: the host shuts down
    (node/leaving.py).
    """
    settings = read_settings(config_path)
    set_up_logging(settings.log_level, settings.log_format)
    with only_agent(settings.run_dir), traces(settings, SystemClock()):
        stalls = Stalls()
        with responsive(stalls, SystemClock()) as runner:
            runner.run(_run(settings, stalls))


@contextlib.contextmanager
def only_agent(run_dir: Path) -> Iterator[None]:
    """One agent a node: two would take up the same session, and one could conclude from a silence that the other
    promised to wait for. The kernel gives the lock back when the process is gone, however it ended.

    Raises:
        Rejected: another agent runs here, or there can be no lock.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = (run_dir / AGENT_LOCK).open("a")
    except OSError as error:
        message = f"run_dir: {error.filename or run_dir}: {error.strerror}"
        raise Rejected(message, accepted="a directory of the node's own, on tmpfs, that this user may write") from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Rejected(f"{file.name}: another agent runs on this node") from error
        file.truncate(0)
        file.write(str(os.getpid()))  # whom ``vmha leave`` has to tell
        file.flush()
        yield


async def _run(settings: NodeSettings, stalls: Stalls) -> None:
    clock = SystemClock()
    tls = TlsFiles(ca=settings.tls.ca, cert=settings.tls.cert, key=settings.tls.key) if settings.tls else None
    first = zlib.crc32(settings.node.encode())  # agents spread over the members
    login = load_login(settings.etcd_user, settings.etcd_password_file)
    store = Metered(EtcdStore(settings.endpoints, tls=tls, login=login, first=first), clock)
    address = settings.address or await own_address(settings.endpoints)
    member = Member(
        Ports(
            store=store,
            hypervisor=LibvirtHypervisor(
                settings.libvirt_uri,
                cluster=settings.cluster,
                clock=clock,
                log_dir=settings.libvirt_log_dir,
                before_destroy=lambda name: forget_unsent_of(
                    QemuProcesses(settings.cluster, str(settings.libvirt_run_dir)), name
                ),
                knocks=urlsplit(settings.libvirt_uri).hostname is None,
            ),
            guard=GuardClient(settings.guard_socket),
            power=FenceAgents(),
            gate=GateFiles(settings.run_dir, settings.state_dir),
            clock=clock,
            probes=NodeProbes(),
            hooks=HostDelivery(settings.hooks_dir),
            peers=open_channel(settings, address, clock),
        ),
        HostIdentity(NodeName(settings.node), address),
        Keys(settings.cluster),
        migration_uri=settings.migration_uri,
        migration_address=settings.migration_address or address,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("agent starts", node=settings.node, cluster=settings.cluster, endpoints=list(settings.endpoints))
    metrics = await _serve_metrics(settings, member, store, clock, stalls)
    living = asyncio.create_task(member.run(), name="member")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    told = asyncio.Event()
    tell(settings.run_dir, None)
    take_word(settings.run_dir)  # of an earlier time
    loop.add_signal_handler(signal.SIGUSR1, _hear, told, member, settings.run_dir)
    leaving = asyncio.create_task(_leave_when(told, member, settings.run_dir), name="leave")
    try:
        await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()  # a bug ended it: say so loudly, the guard counts on
        await member.leader.resign()
    finally:
        for task in (living, stopping, leaving):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living
        if metrics:
            metrics.close()
        await store.close()
        log.info("agent ends; guests and session stay")


def _hear(told: asyncio.Event, member: Member, run_dir: Path) -> None:
    """The signal. A word to stay is heard while the agent leaves, too."""
    if read_word(run_dir).stays:
        member.agent.call_off_leaving()
    told.set()


async def _leave_when(told: asyncio.Event, member: Member, run_dir: Path) -> None:
    """Each time: who was told that guests are left may have seen to them since, and ask again."""
    while True:
        await told.wait()
        told.clear()
        word = take_word(run_dir)
        try:
            tell(run_dir, Left(is_empty=not await _stay(member, word) if word.stays else await _leave(member, word)))
        except OSError as error:
            log.error("what came of leaving can not be said", run_dir=str(run_dir), why=str(error))


async def _leave(member: Member, word: Word) -> bool:
    log.info("the host shuts down: the agent leaves")
    is_empty = await member.leave(word.by, goes_off=word.goes_off)
    if is_empty:
        log.info("left in good order")
    else:
        log.error("not left: guests run, or the store does not answer; the guard counts on", stays=not word.goes_off)
    return is_empty


async def _stay(member: Member, word: Word) -> bool:
    is_here = await member.stay(word.by)
    log.info("leaving is taken back" if is_here else "too late to stay: it has left")
    return is_here


async def _serve_metrics(
    settings: NodeSettings, member: Member, store: Metered, clock: SystemClock, stalls: Stalls
) -> asyncio.Server | None:
    """Being seen is worth less than being there: an address that is taken is told, and the agent goes on."""
    if not settings.metrics_listen:
        return None
    from prometheus_client.exposition import generate_latest

    from vmha.node.happenings import Happenings
    from vmha.node.metrics import MemberMetrics
    from vmha.node.metrics_http import serve_metrics

    happenings = Happenings(clock, is_leading=lambda: member.leader.term is not None)
    happenings.follow(member.mirror, Keys(settings.cluster).prefix)
    numbers = MemberMetrics(member, clock, cluster=settings.cluster, happenings=happenings, store=store, stalls=stalls)
    registry = numbers.registry()
    host, _, port = settings.metrics_listen.rpartition(":")
    try:
        return await serve_metrics(host.strip("[]"), int(port), lambda: generate_latest(registry))
    except (OSError, OverflowError) as error:
        log.error("no metrics", listen=settings.metrics_listen, why=str(error))
        return None
