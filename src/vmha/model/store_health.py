"""How the store and each of its members are, for whoever looks after it. Nothing is decided on it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberHealth:
    """One endpoint, asked by itself. ``trouble``: why it did not answer, or what it says is wrong.

    ``quota_bytes``: how large its database may become before it takes no more writes; 0: any size, None: not told.
    """

    endpoint: str
    trouble: str = ""
    version: str = ""
    size_bytes: int = 0
    is_leader: bool = False
    quota_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """``members``: of the endpoints that this client knows; ``member_count`` of the whole store, 0 when it is not told.

    ``least_ttl_s``: the shortest lease that it grants, which follows from its election timeout; 0: it has no space
    left and grants none. ``long_history``: it still keeps what was changed ``LONG_HISTORY`` revisions ago, so that
    nothing compacts it.
    """

    members: tuple[MemberHealth, ...]
    member_count: int = 0
    alarms: tuple[str, ...] = ()
    least_ttl_s: int = 0
    long_history: bool = False


LONG_HISTORY: Final = 500_000
