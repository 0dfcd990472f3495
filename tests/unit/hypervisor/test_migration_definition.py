"""A guest that can not be made ready for its target does not migrate, and that is told as any other failure."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import libvirt
import pytest

from vmha.hypervisor.port import MigrationFailed, MigrationOrder, Tag
from vmha.hypervisor.real.connection import Channels
from vmha.hypervisor.real.migration import carry_out
from vmha.model.ids import Epoch, VmName

ORDER = MigrationOrder(
    name="web",
    target_uri="qemu+tcp://10.0.0.2/system",
    data_uri="tcp://10.0.0.2",
    tag=Tag(cluster="c", vm=VmName("web"), epoch=Epoch(3)),
    paused_at_target=False,
)


class Here:
    """This host's libvirtd, which knows one guest, and takes any namespace."""

    def __init__(self, xml: str) -> None:
        guest = SimpleNamespace(XMLDesc=lambda _: xml, UUIDString=lambda: "11111111-2222-3333-4444-555555555555")
        self.connection = SimpleNamespace(lookupByName=lambda _: guest)
        self.act = self

    async def call(self, work: Any, *, what: str, timeout_s: float) -> Any:
        return work(self.connection)


async def test_guest_whose_metadata_no_parser_of_ours_takes_stays_where_it_is_and_it_says_why() -> None:
    here = Here("<domain><name>web</name><metadata><q:a xmlns:q='a}b'/></metadata></domain>")
    with pytest.raises(MigrationFailed, match=r"migrate web to .*broken at line 1.*a namespace with a '}' in it"):
        await carry_out(cast(Channels, here), ORDER)


async def test_setting_that_libvirt_refuses_before_the_migration_begins_has_it_fail() -> None:
    """Decided again it would be refused again, as long as anybody waits."""
    here = Here("<domain><name>web</name></domain>")
    here.connection.lookupByName("web").migrateSetMaxDowntime = refuse
    with pytest.raises(MigrationFailed, match=r"migrate web to .*: not with this QEMU"):
        await carry_out(cast(Channels, here), replace(ORDER, max_downtime_ms=300))


def refuse(_: int) -> None:
    error = libvirt.libvirtError("not with this QEMU")
    code, domain = libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_FROM_QEMU
    error.err = (code, domain, "not with this QEMU", 0, "", "", "", 0, 0)
    raise error
