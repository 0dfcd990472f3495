"""Whether a host that is about to join could work: etcd lets it in, its name is free, libvirt answers.

Looked at before anything is written. What it may write is asked of etcd by a transaction that can not happen: etcd
judges its rights before its compares.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from vmha.hypervisor.real.adapter import LibvirtHypervisor
from vmha.model.clock import Clock, SystemClock
from vmha.model.errors import Refused, Rejected, VmhaError
from vmha.model.ids import NodeName, Revision
from vmha.model.keys import Keys
from vmha.node.joining import Joining
from vmha.node.machine import read_host
from vmha.operator.client import OperatorClient
from vmha.pki.authority import write_file
from vmha.store.channels import load_login
from vmha.store.etcd import EtcdStore
from vmha.store.port import Created, Denied, Put
from vmha.store.tls_files import TlsFiles

LIBVIRT_S: Final = 15.0
NEVER: Final = Revision(2**62)


async def look_at_etcd(joining: Joining, *, host: str | None = None) -> list[str]:
    """What could be better.

    Args:
        host: What tells this machine from others; asked of the machine when not given.

    Raises:
        Rejected: etcd does not let it in, or not far enough.
        Refused: another machine goes by that name.
        Unavailable: etcd does not answer.
    """
    settings = joining.settings
    keys, node = Keys(settings.cluster), NodeName(settings.node)
    async with open_client(joining) as client:
        try:
            reading = await client.reading()
            await client.store.txn([Created(keys.beat(node), NEVER)], [Put(keys.beat(node), b"")])
        except Denied as error:
            raise Rejected(
                f"etcd does not let {joining.user or 'this host'} in: {error}",
                accepted="its user and role: vmha cluster roles NODE ... (all nodes, this one too) | sh",
            ) from error
    view = reading.snapshot.nodes.get(node)
    own = read_host() if host is None else host
    if view and view.beat and view.beat.value.host and view.beat.value.host != own:
        raise Refused(
            f"a node {node} is in cluster {settings.cluster} already, and is another machine: give this one another "
            f"name, or, if that machine is gone for good: vmha node remove {node}"
        )
    return [] if keys.config in reading.modified else [f"cluster {settings.cluster} is not set up: vmha cluster init"]


async def look_at_etcd_as_dashboard(dashboard: Joining) -> None:
    """Raises:
    Rejected: etcd does not let it in.
    Unavailable: etcd does not answer.
    """
    async with open_client(dashboard) as client:
        try:
            await client.reading()
        except Denied as error:
            raise Rejected(
                f"etcd does not let the dashboard in as {dashboard.user}: {error}",
                accepted="that user and its role: vmha cluster roles NODE ... | sh",
            ) from error


@asynccontextmanager
async def open_client(joining: Joining, *, author: str = "") -> AsyncIterator[OperatorClient]:
    """The cluster, as this node; it does not have to have its files yet. ``author``: who asks; else the node."""
    settings = joining.settings
    login = load_login(settings.etcd_user, settings.etcd_password_file)
    with _tls_files(joining) as tls:
        store = EtcdStore(settings.endpoints, tls=tls, login=login)
        try:
            yield OperatorClient(store, Keys(settings.cluster), SystemClock(), author=author or settings.node)
        finally:
            await store.close()


async def look_at_libvirt(joining: Joining, clock: Clock) -> str:
    """What it offers, in words. Raises: Refused."""
    uri = joining.settings.libvirt_uri
    hypervisor = LibvirtHypervisor(uri, cluster=joining.settings.cluster, clock=clock)
    try:
        async with asyncio.timeout(LIBVIRT_S):
            await hypervisor.open()
            found = await hypervisor.capacity()
    except (VmhaError, TimeoutError) as error:
        raise Refused(f"libvirt at {uri} does not answer: {error or 'too late'}; start libvirtd") from error
    finally:
        await hypervisor.close()
    return f"libvirt answers: {found.memory_mib} MiB, {found.vcpus} processors"


@contextmanager
def _tls_files(joining: Joining) -> Iterator[TlsFiles | None]:
    """Those that are to be written, in a place of their own meanwhile; else those that are there."""
    tls = joining.settings.tls
    if tls is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="vmha-join-") as name:
        found = []
        for path in (tls.ca, tls.cert, tls.key):
            content = joining.content(path)
            if content:
                write_file(Path(name) / path.name, content, mode=0o600)
            found.append(Path(name) / path.name if content else path)
        yield TlsFiles(ca=found[0], cert=found[1], key=found[2])
