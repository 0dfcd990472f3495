"""The lab's power switch: what a fence program talks to, as to a remotely controlled power strip.

One line in, one line out, per connection: ``off h2``, ``on h2``, ``status h2``, ``list``. Answers ``ok h2 off`` or
``error WORDS``. ``off`` answers only when nothing of the host runs any more: the answer is the proof. With ``storage-``
before the verb it is about the host's access to the shared storage instead, which the storage server itself refuses.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from vmha.lab.machine import Machine, Power
from vmha.lab.nbd import StorageServer
from vmha.model.errors import VmhaError

_LINE_TIMEOUT_S = 5.0
_STORAGE_VERBS = ("storage-on", "storage-off", "storage-status")


class PowerSwitch:
    def __init__(self, machines: Mapping[str, Machine], storage: StorageServer) -> None:
        self._machines, self._storage = machines, storage
        self._verbs: dict[str, Callable[[Machine], Awaitable[None]]] = {
            "on": Machine.power_on,
            "off": lambda machine: machine.cut_power(why="power switch"),
            "status": _nothing,
        }

    async def start(self, address: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, address, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_LINE_TIMEOUT_S):
                line = (await reader.readline()).decode(errors="replace")
            writer.write(f"{await self._answer(line.split())}\n".encode())
            await writer.drain()
        except (OSError, TimeoutError):
            pass  # nobody is listening for the answer
        finally:
            writer.close()

    async def _answer(self, words: list[str]) -> str:
        match words:
            case ["list"]:
                return f"ok {' '.join(self._machines)}"
            case [verb, name] if verb in self._verbs and name in self._machines:
                machine = self._machines[name]
                try:
                    await self._verbs[verb](machine)
                except (VmhaError, OSError, TimeoutError) as error:
                    return f"error {error}"
                return f"ok {name} {'off' if machine.power is Power.OFF else 'on'}"
            case [verb, name] if verb in _STORAGE_VERBS and name in self._machines:
                return await self._answer_for_storage(verb, name)
            case [verb, name] if verb in (*self._verbs, *_STORAGE_VERBS):
                return f"error no outlet {name}"
            case _:
                return "error say: off|on|status OUTLET, or list"

    async def _answer_for_storage(self, verb: str, name: str) -> str:
        if verb == "storage-off":
            await self._storage.shut_out(name)
        elif verb == "storage-on":
            self._storage.let_in(name)
        return f"ok {name} {'off' if self._storage.is_shut_out(name) else 'on'}"


async def _nothing(_: Machine) -> None:
    return None
