"""The messages and stubs of etcd's protocol that vmha uses, as aetcd.rpc exports them.

Fields are those in use, not all there are. A unit test compares every name with the real module.
"""

from collections.abc import Sequence
from typing import ClassVar

from grpc.aio import Channel, StreamStreamMultiCallable, UnaryUnaryMultiCallable

class ResponseHeader:
    cluster_id: int
    member_id: int
    revision: int
    raft_term: int

class KeyValue:
    key: bytes
    create_revision: int
    mod_revision: int
    value: bytes
    lease: int

class Event:
    PUT: ClassVar[int]
    DELETE: ClassVar[int]
    type: int
    kv: KeyValue

class RangeRequest:
    def __init__(
        self,
        *,
        key: bytes = ...,
        range_end: bytes = ...,
        limit: int = ...,
        revision: int = ...,
        keys_only: bool = ...,
    ) -> None: ...

class RangeResponse:
    header: ResponseHeader
    kvs: Sequence[KeyValue]
    more: bool

class PutRequest:
    def __init__(self, *, key: bytes = ..., value: bytes = ..., lease: int = ...) -> None: ...

class DeleteRangeRequest:
    def __init__(self, *, key: bytes = ...) -> None: ...

class RequestOp:
    def __init__(
        self,
        *,
        request_range: RangeRequest | None = ...,
        request_put: PutRequest | None = ...,
        request_delete_range: DeleteRangeRequest | None = ...,
    ) -> None: ...

class ResponseOp:
    response_range: RangeResponse

class Compare:
    EQUAL: ClassVar[int]
    GREATER: ClassVar[int]
    LESS: ClassVar[int]
    CREATE: ClassVar[int]
    MOD: ClassVar[int]
    def __init__(
        self,
        *,
        key: bytes = ...,
        range_end: bytes = ...,
        target: int = ...,
        result: int = ...,
        create_revision: int = ...,
        mod_revision: int = ...,
    ) -> None: ...

class TxnRequest:
    def __init__(
        self,
        *,
        compare: Sequence[Compare] = ...,
        success: Sequence[RequestOp] = ...,
        failure: Sequence[RequestOp] = ...,
    ) -> None: ...

class TxnResponse:
    header: ResponseHeader
    succeeded: bool
    responses: Sequence[ResponseOp]

class WatchCreateRequest:
    def __init__(
        self, *, key: bytes = ..., range_end: bytes = ..., start_revision: int = ..., fragment: bool = ...
    ) -> None: ...

class WatchProgressRequest: ...

class WatchRequest:
    def __init__(
        self,
        *,
        create_request: WatchCreateRequest | None = ...,
        progress_request: WatchProgressRequest | None = ...,
    ) -> None: ...

class WatchResponse:
    header: ResponseHeader
    created: bool
    canceled: bool
    cancel_reason: str
    compact_revision: int
    fragment: bool
    events: Sequence[Event]

class LeaseGrantRequest:
    def __init__(self, *, TTL: int = ...) -> None: ...

class LeaseGrantResponse:
    header: ResponseHeader
    ID: int
    TTL: int

class LeaseRevokeRequest:
    def __init__(self, *, ID: int = ...) -> None: ...

class LeaseRevokeResponse:
    header: ResponseHeader

class LeaseKeepAliveRequest:
    def __init__(self, *, ID: int = ...) -> None: ...

class LeaseKeepAliveResponse:
    header: ResponseHeader
    ID: int
    TTL: int

class AlarmRequest:
    def __init__(self, *, action: int = ..., memberID: int = ..., alarm: int = ...) -> None: ...

class AlarmMember:
    memberID: int
    alarm: int

class AlarmResponse:
    header: ResponseHeader
    alarms: Sequence[AlarmMember]

class AuthenticateRequest:
    def __init__(self, *, name: str = ..., password: str = ...) -> None: ...

class AuthenticateResponse:
    header: ResponseHeader
    token: str

class AuthStub:
    Authenticate: UnaryUnaryMultiCallable[AuthenticateRequest, AuthenticateResponse]
    def __init__(self, channel: Channel) -> None: ...

class StatusRequest: ...

class StatusResponse:
    header: ResponseHeader
    version: str
    dbSize: int
    leader: int
    errors: Sequence[str]

class MemberListRequest: ...

class MemberListResponse:
    header: ResponseHeader
    members: Sequence[object]

class ClusterStub:
    MemberList: UnaryUnaryMultiCallable[MemberListRequest, MemberListResponse]
    def __init__(self, channel: Channel) -> None: ...

class KVStub:
    Range: UnaryUnaryMultiCallable[RangeRequest, RangeResponse]
    Txn: UnaryUnaryMultiCallable[TxnRequest, TxnResponse]
    def __init__(self, channel: Channel) -> None: ...

class LeaseStub:
    LeaseGrant: UnaryUnaryMultiCallable[LeaseGrantRequest, LeaseGrantResponse]
    LeaseRevoke: UnaryUnaryMultiCallable[LeaseRevokeRequest, LeaseRevokeResponse]
    LeaseKeepAlive: StreamStreamMultiCallable[LeaseKeepAliveRequest, LeaseKeepAliveResponse]
    def __init__(self, channel: Channel) -> None: ...

class WatchStub:
    Watch: StreamStreamMultiCallable[WatchRequest, WatchResponse]
    def __init__(self, channel: Channel) -> None: ...

class MaintenanceStub:
    Alarm: UnaryUnaryMultiCallable[AlarmRequest, AlarmResponse]
    Status: UnaryUnaryMultiCallable[StatusRequest, StatusResponse]
    def __init__(self, channel: Channel) -> None: ...
