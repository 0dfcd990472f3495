"""No call to etcd without a deadline, by reading the code: a call that hangs would hold up beats, and end guests."""

import ast
from pathlib import Path

import vmha.store
from vmha.store.port import Store

STUBS = {"kv", "lease", "watch", "maintenance", "auth"}
STREAMS = {"Watch", "LeaseKeepAlive"}
"""They stay open; every read and write on them is bounded by its caller (tests/real/test_etcd_faults.py)."""


def calls() -> list[tuple[str, ast.Call]]:
    found = []
    for path in sorted(Path(vmha.store.__path__[0]).glob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text()))
        found += [(f"{path.name}:{node.lineno}", node) for node in nodes if isinstance(node, ast.Call)]
    return found


def test_every_request_to_a_member_carries_a_timeout() -> None:
    with_metadata = [
        (where, call) for where, call in calls() if any(keyword.arg == "metadata" for keyword in call.keywords)
    ]
    assert len(with_metadata) >= 3, "requests are known by their metadata: has that changed?"
    for where, call in with_metadata:
        is_stream = isinstance(call.func, ast.Attribute) and call.func.attr in STREAMS
        assert is_stream or any(keyword.arg == "timeout" for keyword in call.keywords), where


def test_no_method_of_a_stub_is_called_without_a_timeout() -> None:
    for where, call in calls():
        func = call.func
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Attribute) and func.value.attr in STUBS:
            assert func.attr in STREAMS or any(keyword.arg == "timeout" for keyword in call.keywords), where


def test_every_call_of_the_port_takes_a_timeout_and_has_one_by_default() -> None:
    endless = {"watch", "close"}
    asked = {name for name in vars(Store) if not name.startswith("_") and callable(getattr(Store, name))} - endless
    assert {"get", "list", "txn", "grant", "keep_alive", "revoke"} <= asked
    for name in asked:
        default = (getattr(Store, name).__kwdefaults__ or {}).get("timeout_s")
        assert isinstance(default, float), name
        assert default <= 10.0, name
