"""How the members of a store are, each asked by itself: for whoever looks after it, not for any decision.

What etcd does not say of its settings is concluded from what it does: the shortest lease that it grants follows from
its election timeout, and history that is still kept tells that nothing compacts it. Its space quota it tells nobody.
"""

import asyncio

from vmha.model.errors import VmhaError
from vmha.model.store_health import LONG_HISTORY, MemberHealth
from vmha.store import wire
from vmha.store.channels import Member, Ring
from vmha.store.translate import translate


async def ask_each(ring: Ring, *, timeout_s: float) -> tuple[MemberHealth, ...]:
    return tuple(await asyncio.gather(*(_ask(member, timeout_s) for member in ring.every())))


async def _ask(member: Member, timeout_s: float) -> MemberHealth:
    try:
        async with asyncio.timeout(timeout_s):
            metadata = await member.metadata(timeout_s=timeout_s)
            status = await member.maintenance.Status(wire.StatusRequest(), timeout=timeout_s, metadata=metadata)
    except TimeoutError:
        return MemberHealth(endpoint=member.name, trouble=f"no answer within {timeout_s:g} s")
    except wire.AioRpcError as error:
        said = translate(error.code(), error.details() or "", write=False, endpoint=member.name)
        return MemberHealth(endpoint=member.name, trouble=str(said))
    except VmhaError as error:
        return MemberHealth(endpoint=member.name, trouble=str(error))
    return MemberHealth(
        endpoint=member.name,
        trouble="; ".join(status.errors),
        version=status.version,
        size_bytes=status.dbSize,
        is_leader=bool(status.leader) and status.leader == status.header.member_id,
    )


def looks_back_to(revision: int) -> int:
    """A revision that a store which compacts its history does not keep; 0: it is too young for that to tell."""
    return max(0, revision - LONG_HISTORY)
