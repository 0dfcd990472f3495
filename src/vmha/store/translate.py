"""What a failed call to etcd means for the caller: gRPC's status becomes one error of the port.

The question that matters is whether a write may have been committed. "Surely not" is said only where the request cannot
have reached the raft log: no connection was made, the member refused before proposing, or the store itself turned it
down. Everything else that loses the answer is ``Ambiguous``, also what sounds like a refusal: in measured failovers of
etcd 3.4, eight of eight puts that were answered ``UNAVAILABLE: request timed out`` had been committed.

A read has no such question: what is ambiguous for a write is ``Unavailable`` for it.
"""

import re
from collections.abc import Callable

from vmha.model.errors import Broken, Rejected, VmhaError
from vmha.store.port import Ambiguous, Compacted, Denied, LeaseGone, NoSpace, Unavailable
from vmha.store.wire import StatusCode

_Family = Callable[[str], VmhaError]

# First match wins: the status, words sought in the lower-cased details (any of them; none given: always), the error.
# The words under the first UNAVAILABLE say that the request never reached the raft log; `no leader` is said by the
# member itself, because every request carries `hasleader`.
_RULES: tuple[tuple[StatusCode, tuple[str, ...], _Family], ...] = (
    (StatusCode.NOT_FOUND, ("lease",), LeaseGone),
    (StatusCode.OUT_OF_RANGE, ("compacted",), Compacted),
    (StatusCode.OUT_OF_RANGE, ("future revision",), Unavailable),  # this member lags behind; another one knows
    (StatusCode.RESOURCE_EXHAUSTED, ("space exceeded",), NoSpace),
    (StatusCode.RESOURCE_EXHAUSTED, ("too many requests",), Unavailable),
    (StatusCode.PERMISSION_DENIED, (), Denied),
    (StatusCode.UNAUTHENTICATED, (), Denied),
    (StatusCode.INVALID_ARGUMENT, ("user name is empty", "authentication failed"), Denied),
    (StatusCode.INVALID_ARGUMENT, ("auth store is old",), Unavailable),  # a role changed while this was checked
    (
        StatusCode.UNAVAILABLE,
        (
            "failed to connect to all addresses",
            "connections to all backends failing",
            "dns resolution failed",
            "errors resolving",
            "etcdserver: no leader",
            "etcdserver: not capable",
            "etcdserver: not leader",
            "rpc not supported for learner",
        ),
        Unavailable,
    ),
    (StatusCode.DATA_LOSS, (), Broken),
)
_REMEDIES: dict[_Family, str] = {
    NoSpace: "; nothing can be written until there is room: etcdctl compact, defrag and alarm disarm (docs: faults)",
}
_LOST_ANSWER = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNKNOWN,
        StatusCode.CANCELLED,
        StatusCode.INTERNAL,
        StatusCode.ABORTED,
    }
)
_CONNECT_NOISE = re.compile(
    r"^failed to connect to all addresses; last error: (?:[A-Z_]+: )?(?:(?:ipv4|ipv6|unix):\S+: )?"
    r"(?:failed to connect to remote host: )?(?:connect: )?",
    re.IGNORECASE,
)
_IN_PLAIN_WORDS = (
    ("before receiving settings frame", "it accepts the connection and says nothing"),
    ("domain name not found", "the host name is not known"),
    ("dns resolution failed", "the host name is not known"),
    ("connection reset by peer", "it ended the connection"),
    ("broken pipe", "it ended the connection"),
    ("deadline exceeded", ""),  # the message says how long was waited
)


def translate(code: StatusCode, details: str, *, write: bool, endpoint: str) -> VmhaError:
    """The port's error for a status of gRPC.

    Args:
        code: The status.
        details: Its text, as the member or gRPC worded it.
        write: The request could have changed the store.
        endpoint: The member asked, for the message.
    """
    text = f"etcd at {endpoint}: {plain(details) or code.name.lower().replace('_', ' ')}"
    low = details.lower()
    for status, words, error in _RULES:
        if code is status and (not words or any(word in low for word in words)):
            return error(text + _REMEDIES.get(error, ""))
    if code in _LOST_ANSWER:
        return Ambiguous(text) if write else Unavailable(text)
    return Rejected(text)


def wants_login(code: StatusCode, details: str) -> bool:
    """Refused for a token that is missing, expired, or of before a change of roles: another one may do."""
    words = ("invalid auth token", "user name is empty", "auth store is old")
    return code in (StatusCode.UNAUTHENTICATED, StatusCode.INVALID_ARGUMENT) and any(w in details for w in words)


def plain(details: str) -> str:
    """gRPC's details as a person would put it: ``Connection refused (111)``, not four nested errors."""
    low = details.lower()
    for words, said in _IN_PLAIN_WORDS:
        if words in low:
            return said
    return _CONNECT_NOISE.sub("", details).removeprefix("etcdserver: ")
