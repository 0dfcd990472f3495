"""How the members of a store are, each asked by itself: for whoever looks after it, not for any decision.

What etcd does not say of its settings is concluded from what it does: the shortest lease that it grants follows from
its election timeout, and history that is still kept tells that nothing compacts it. Its space quota is read from its
metrics (``quota.py``).
"""

import asyncio
from dataclasses import replace

from vmha.model.errors import VmhaError
from vmha.model.store_health import MemberHealth
from vmha.store import wire
from vmha.store.channels import Member, Ring
from vmha.store.quota import ask_quota
from vmha.store.translate import translate

_FULL = "alarm:NOSPACE"
"""A member counts that among its errors. It is the whole store's alarm, and told as that."""


async def ask_each(ring: Ring, *, timeout_s: float) -> tuple[MemberHealth, ...]:
    return tuple(await asyncio.gather(*(_ask_all(ring, member, timeout_s) for member in ring.every())))


async def _ask_all(ring: Ring, member: Member, timeout_s: float) -> MemberHealth:
    quota = asyncio.create_task(ask_quota(member.endpoint, ring.tls, timeout_s=timeout_s), name=f"quota-{member.name}")
    health = await _ask(member, timeout_s)
    return replace(health, quota_bytes=await quota)


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
        trouble="; ".join(error for error in status.errors if _FULL not in error),
        version=status.version,
        size_bytes=status.dbSize,
        is_leader=bool(status.leader) and status.leader == status.header.member_id,
    )
