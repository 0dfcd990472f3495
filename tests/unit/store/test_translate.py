"""Which failures of a write are surely not done, which are unclear, and which say what is wrong."""

import pytest

from vmha.model.errors import Broken, Rejected, VmhaError
from vmha.store.port import Ambiguous, Compacted, Denied, LeaseGone, NoSpace, Unavailable
from vmha.store.translate import plain, translate
from vmha.store.wire import StatusCode

REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:2379: "
    "Failed to connect to remote host: connect: Connection refused (111)"
)
UNVERIFIED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:2379: "
    "Ssl handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: certificate verify failed"
)

SURELY_NOT_DONE = [
    (StatusCode.UNAVAILABLE, REFUSED),
    (StatusCode.UNAVAILABLE, UNVERIFIED),
    (StatusCode.UNAVAILABLE, "connections to all backends failing"),
    (StatusCode.UNAVAILABLE, "DNS resolution failed for nowhere:2379: C-ares status is not ARES_SUCCESS"),
    (StatusCode.UNAVAILABLE, "errors resolving nowhere:2379: [address lookup failed: Domain name not found]"),
    (StatusCode.UNAVAILABLE, "etcdserver: no leader"),
    (StatusCode.UNAVAILABLE, "etcdserver: not capable"),
    (StatusCode.UNAVAILABLE, "etcdserver: rpc not supported for learner"),
    (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
    (StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),
    (StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
]
UNCLEAR = [
    (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    (StatusCode.UNAVAILABLE, "etcdserver: request timed out"),
    (StatusCode.UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure"),
    (StatusCode.UNAVAILABLE, "etcdserver: request timed out, possibly due to connection lost"),
    (StatusCode.UNAVAILABLE, "etcdserver: leader changed"),
    (StatusCode.UNAVAILABLE, "etcdserver: server stopped"),
    (StatusCode.UNAVAILABLE, "Socket closed"),
    (StatusCode.UNAVAILABLE, "ping timeout"),
    (StatusCode.UNAVAILABLE, "GOAWAY received"),
    (StatusCode.UNAVAILABLE, ""),
    (StatusCode.UNKNOWN, "context deadline exceeded"),
    (StatusCode.UNKNOWN, "Stream removed"),
    (StatusCode.CANCELLED, "grpc: the client connection is closing"),
    (StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
    (StatusCode.ABORTED, ""),
]
SAYS_WHAT_IS_WRONG: list[tuple[StatusCode, str, type[VmhaError]]] = [
    (StatusCode.NOT_FOUND, "etcdserver: requested lease not found", LeaseGone),
    (StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Compacted),
    (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", NoSpace),
    (StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", Denied),
    (StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", Denied),
    (StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", Denied),
    (StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password", Denied),
    (StatusCode.INVALID_ARGUMENT, "etcdserver: too many operations in txn request", Rejected),
    (StatusCode.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", Rejected),
    (StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large", Rejected),
    (StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (4 vs. 2)", Rejected),
    (StatusCode.UNIMPLEMENTED, "Received http2 header with status: 404", Rejected),
    (StatusCode.FAILED_PRECONDITION, "etcdserver: lease already exists", Rejected),
    (StatusCode.DATA_LOSS, "etcdserver: corrupt cluster", Broken),
]


@pytest.mark.parametrize(("code", "details"), SURELY_NOT_DONE)
def test_what_never_reached_the_log_is_surely_not_done(code: StatusCode, details: str) -> None:
    for write in (True, False):
        assert type(translate(code, details, write=write, endpoint="etcd-1:2379")) is Unavailable


@pytest.mark.parametrize(("code", "details"), UNCLEAR)
def test_lost_answer_leaves_a_write_unclear_and_a_read_undone(code: StatusCode, details: str) -> None:
    assert type(translate(code, details, write=True, endpoint="etcd-1:2379")) is Ambiguous
    assert type(translate(code, details, write=False, endpoint="etcd-1:2379")) is Unavailable


@pytest.mark.parametrize(("code", "details", "error"), SAYS_WHAT_IS_WRONG)
def test_refusal_of_the_store_keeps_its_meaning(code: StatusCode, details: str, error: type[VmhaError]) -> None:
    for write in (True, False):
        assert type(translate(code, details, write=write, endpoint="etcd-1:2379")) is error


@pytest.mark.parametrize("code", [code for code in StatusCode if code is not StatusCode.OK])
def test_every_status_means_something_and_names_the_endpoint(code: StatusCode) -> None:
    error = translate(code, "", write=True, endpoint="etcd-1:2379")
    assert isinstance(error, VmhaError)
    assert "etcd at etcd-1:2379: " in str(error)


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (REFUSED, "Connection refused (111)"),
        (UNVERIFIED, "Ssl handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: certificate verify failed"),
        ("etcdserver: no leader", "no leader"),
        ("errors resolving nowhere:2379: [address lookup failed: Domain name not found]", "the host name is not known"),
        ("connection attempt timed out before receiving SETTINGS frame", "it accepts the connection and says nothing"),
        ("recvmsg:Connection reset by peer (104)", "it ended the connection"),
        ("Delayed close due to in-progress write (sendmsg: Broken pipe (32))", "it ended the connection"),
        ("Socket closed", "Socket closed"),
        ("", ""),
    ],
)
def test_details_are_told_in_plain_words(details: str, said: str) -> None:
    assert plain(details) == said
