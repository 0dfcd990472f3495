"""Hooks as an operator sees them: what is set, how far each has been told, and having one tried by the leader."""

import asyncio

from vmha.model.hooks import TEST, Hook
from vmha.model.ids import NodeName
from vmha.model.keys import decode
from vmha.model.records import HookState
from vmha.operator.client import OperatorClient
from vmha.operator.errors import OperationFailed, TimedOut, unknown_name
from vmha.store.journal import Journal
from vmha.store.port import Put

LOOK_S = 0.2


async def read_hooks(client: OperatorClient) -> list[tuple[Hook, HookState | None]]:
    snapshot = await client.read()
    prefix = client.keys.hook("")
    states = {
        kv.key.removeprefix(prefix): decode(HookState, kv.value, where=kv.key)
        for kv in (await client.store.list(prefix)).items
    }
    return [(hook, states.get(hook.name)) for hook in snapshot.config.hooks]


async def try_hook(client: OperatorClient, name: str, *, timeout_s: float) -> str:
    """What the hook said to an event of its own, told by the leader like any other.

    Raises:
        UnknownName: with the near names.
        OperationFailed: it refused; its words.
        TimedOut: nothing was heard within ``timeout_s``.
    """
    hooks = [hook.name for hook, _ in await read_hooks(client)]
    if name not in hooks:
        raise unknown_name("hook", name, hooks)
    journal = Journal(client.store, client.keys, client.clock, NodeName("operator"), days=lambda: 1)
    await journal.refresh()
    entry: Put = journal.entry(TEST, f"{name} is tried by {client.author}")
    await client.store.txn([], [entry])
    asked = entry.key.rpartition("/")[2]
    state = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                state = {hook.name: state for hook, state in await read_hooks(client)}.get(name)
                if state is not None and state.last == asked:
                    break
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        waits = f"it is at {state.last or 'nothing yet'}" if state else "no leader has taken it up"
        raise TimedOut(f"hook {name}: nothing was heard of it within {timeout_s:g} s: {waits}") from None
    if not state.last_done:
        raise OperationFailed(f"hook {name}: {state.last_said}")
    return state.last_said or "done"
