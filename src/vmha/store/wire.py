"""The one door to the etcd client library: every name of grpc and aetcd that vmha uses passes through here.

What comes through: etcd's messages and stubs as generated for aetcd (``aetcd.rpc``), and the few names of grpc.aio that
open channels. Nothing else of aetcd is used: its own client knows one host, no TLS and no deadlines, and hangs on a
watch that the server has cancelled. Should the generated code ever have to come from elsewhere, this file changes and
no other.

``import aetcd.rpc`` also imports aetcd's client. Going around that (a stand-in for the parent package in the table of
modules) was measured: 7 to 10 ms of 140 ms of processor time; asyncio, grpc and protobuf are the rest. It is not worth
a module that is not what it seems. Instead nothing outside this package imports this file, and the command line imports
``vmha.store.etcd`` only when it is about to use it.
"""

import os

# Before grpc is imported: its C core otherwise writes lines of its own to stderr on every TLS error and GOAWAY, in the
# middle of the output of a command. The level ERROR is not enough. An administrator who sets the variable is obeyed.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from aetcd.rpc import (
    AlarmRequest,
    AuthenticateRequest,
    AuthStub,
    ClusterStub,
    Compare,
    DeleteRangeRequest,
    Event,
    KVStub,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseStub,
    MaintenanceStub,
    MemberListRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    StatusRequest,
    TxnRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
    WatchStub,
)
from aetcd.rpc import KeyValue as WireKeyValue
from grpc import ChannelCredentials, StatusCode, ssl_channel_credentials
from grpc.aio import (
    EOF,
    AioRpcError,
    StreamStreamCall,
    UnaryUnaryMultiCallable,
    UsageError,
    insecure_channel,
    secure_channel,
)

__all__ = [
    "EOF",
    "AioRpcError",
    "AlarmRequest",
    "AuthStub",
    "AuthenticateRequest",
    "ChannelCredentials",
    "ClusterStub",
    "Compare",
    "DeleteRangeRequest",
    "Event",
    "KVStub",
    "LeaseGrantRequest",
    "LeaseKeepAliveRequest",
    "LeaseKeepAliveResponse",
    "LeaseRevokeRequest",
    "LeaseStub",
    "MaintenanceStub",
    "MemberListRequest",
    "PutRequest",
    "RangeRequest",
    "RangeResponse",
    "RequestOp",
    "ResponseHeader",
    "StatusCode",
    "StatusRequest",
    "StreamStreamCall",
    "TxnRequest",
    "UnaryUnaryMultiCallable",
    "UsageError",
    "WatchCreateRequest",
    "WatchProgressRequest",
    "WatchRequest",
    "WatchResponse",
    "WatchStub",
    "WireKeyValue",
    "insecure_channel",
    "secure_channel",
    "ssl_channel_credentials",
]
