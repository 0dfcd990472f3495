"""What etcd spends on telling N agents of every beat: ``python -m bench.scale_watchers``.

A real etcd of one member, the beats of N nodes one transaction each, spread evenly over the beat, and the watches of
N agents on the whole cluster. First without these watches (``writes alone``), then with them, for each N in turn: the
difference is the telling. The watches are raw ones (bench/raw_watches.py), in a process of their own. One more is the
product's: how long after it was sent a beat is heard of. For the smallest N the same once more with the product's
client for all of them (``agents' own``): what it says to etcd beside listening is in that.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.support.etcd import RealEtcd

from bench.computing import np
from bench.measure import progress
from bench.raw_watches import RawWatches
from bench.scale_cluster import KEYS
from bench.scale_run import cpu_of, sent_by
from bench.scale_told import ALONE, OWN, RAW, Point, fitted, table, words
from bench.world import node_name, node_records
from vmha.model.clock import SystemClock
from vmha.model.errors import VmhaError
from vmha.model.ids import Revision
from vmha.model.keys import decode, encode
from vmha.model.records import BeatRecord
from vmha.model.settings import ClusterConfig
from vmha.store.etcd import EtcdStore
from vmha.store.port import Modified, Put

NUMBERS = (50, 100, 200, 300, 500)
SECONDS, WARM_S = 15.0, 3.0
TAKEN_EVERY_S = 0.1
BEAT_S = ClusterConfig().clockwork.beat_s
IN_FLIGHT = 256
AT_ITS_DEFAULTS = {"heartbeat-interval": "100", "election-timeout": "1000"}


class Beats:
    """Of ``nodes`` agents, by one process."""

    def __init__(self, store: EtcdStore, nodes: int) -> None:
        self._store, self._clock = store, SystemClock()
        self._beats = {node_name(number): node_records(node_name(number))[2] for number in range(nodes)}
        self._revisions: dict[str, Revision] = {}
        self._sent: dict[int, float] = {}
        self._gate = asyncio.Semaphore(IN_FLIGHT)
        self.written = self.failed = 0
        self.answered: list[float] = []
        self.heard: list[float] = []

    async def write(self) -> None:
        """On and on: each node in its turn, and all once in a beat."""
        names, count = list(self._beats), 0
        began_at = self._clock.now()
        async with asyncio.TaskGroup() as group:
            while True:
                due = began_at + count * BEAT_S / len(names)
                await asyncio.sleep(max(0.0, due - self._clock.now()))
                await self._gate.acquire()
                group.create_task(self._beat(names[count % len(names)], count), name="beat")
                count += 1

    async def _beat(self, name: Any, count: int) -> None:
        try:
            key, record = KEYS.beat(name), replace(self._beats[name], count=count)
            known = self._revisions.pop(name, None)
            sent_at = self._sent[count] = self._clock.now()
            compares = [] if known is None else [Modified(key, known)]
            done = await self._store.txn(compares, [Put(key, encode(record))], timeout_s=10.0)
            self.answered.append(self._clock.now() - sent_at)
            self._revisions[name] = done.revision
            self.written += 1
        except VmhaError:
            self.failed += 1
        finally:
            self._gate.release()

    async def listen(self) -> None:
        """As one more agent."""
        watch = self._store.watch(KEYS.prefix, start_revision=Revision(1))
        async with aclosing(watch) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for change in batch.changes:
                    assert change.kv
                    count = decode(BeatRecord, change.kv.value, where=change.key).count
                    if sent_at := self._sent.pop(count, 0.0):
                        self.heard.append(self._clock.now() - sent_at)

    def forget(self) -> None:
        self.written = self.failed = 0
        self.answered.clear()
        self.heard.clear()


# --- whoever watches, in a process of its own


async def hold(endpoint: str, count: int, kind: str) -> None:
    """Watch until standard input ends; a line of it asks how many bytes each was told."""
    loop, told = asyncio.get_running_loop(), [0] * count
    if kind == RAW:
        raw = RawWatches(endpoint, KEYS.prefix, count=count, start_revision=1)
        raw.wait_opened()
        told = raw.told
        working = [asyncio.create_task(_take(raw), name="take")]
    else:
        stores = [EtcdStore([endpoint]) for _ in range(count)]
        working = [asyncio.create_task(_listen(store, told, at), name="listen") for at, store in enumerate(stores)]
    while await loop.run_in_executor(None, sys.stdin.readline):
        for task in working:
            if task.done():
                task.result()
        print(json.dumps({"told": told, "cpu_s": time.process_time()}), flush=True)
    os._exit(0)  # a thousand streams need not be ended one by one


async def _take(raw: RawWatches) -> None:
    while True:
        raw.take()
        await asyncio.sleep(TAKEN_EVERY_S)


async def _listen(store: EtcdStore, told: list[int], at: int) -> None:
    async for batch in store.watch(KEYS.prefix, start_revision=Revision(1)):
        told[at] += sum(len(change.kv.value) for change in batch.changes if change.kv)


class Watchers:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(b"\n")
        found: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return found


@asynccontextmanager
async def watchers(etcd: RealEtcd, count: int, kind: str) -> AsyncIterator[Watchers]:
    what = json.dumps({"endpoint": etcd.endpoints[0], "count": count, "kind": kind})
    words = [sys.executable, "-m", "bench.scale_watchers", "--hold", what]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=1 << 20)
    try:
        held = Watchers(process)
        await held.ask()  # all are open
        yield held
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()


# --- measuring


async def measure(nodes: int, kind: str, seconds: float) -> Point:
    """On an etcd of its own."""
    count = 0 if kind == ALONE else nodes
    with RealEtcd(options=AT_ITS_DEFAULTS) as etcd:
        store = EtcdStore(etcd.endpoints)
        beats = Beats(store, nodes)
        async with watchers(etcd, count, RAW if kind == ALONE else kind) as held:
            working = [asyncio.create_task(beats.write(), name="write"), asyncio.create_task(beats.listen())]
            await asyncio.sleep(WARM_S)
            point = await _between(etcd, beats, held, working, nodes, kind, seconds)
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
        await store.close()
    return point


async def _between(
    etcd: RealEtcd,
    beats: Beats,
    held: Watchers,
    working: Sequence[asyncio.Task[None]],
    nodes: int,
    kind: str,
    seconds: float,
) -> Point:
    beats.forget()
    before, cpu, sent, idle = await held.ask(), cpu_of(etcd), sent_by(etcd), _idle_s()
    own, began_at = time.process_time(), time.monotonic()  # noqa: TID251
    await asyncio.wait(working, timeout=seconds)
    took_s = time.monotonic() - began_at  # noqa: TID251
    own = time.process_time() - own
    cpu, sent, idle = cpu_of(etcd) - cpu, sent_by(etcd) - sent, _idle_s() - idle
    after, behind = await held.ask(), etcd.counts(0).get("etcd_debugging_mvcc_pending_events_total", 0.0)
    for task in working:
        if task.done():
            task.result()
    told = [now - then for now, then in zip(after["told"], before["told"], strict=True)]
    events = beats.written * len(told)
    return Point(
        agents=nodes,
        kind=kind,
        kept_up=round(beats.written / took_s * BEAT_S / nodes, 3),
        failed=beats.failed,
        beats_per_s=round(beats.written / took_s, 1),
        told_per_s=round(events / took_s),
        etcd_cpu=round(cpu / took_s, 3),
        etcd_mib=round(_memory_mib(etcd.pid(0))),
        sent_mib_per_s=round(sent / took_s, 2),
        bytes_per_event=round(sum(told) / events) if events else 0,
        least_told=round(min(told) * len(told) / max(1, sum(told)), 3) if told else 1.0,
        behind=max(0, int(behind)),
        answered_ms=_ms(beats.answered),
        heard_ms=_ms(beats.heard),
        others_cpu=round((own + after["cpu_s"] - before["cpu_s"]) / took_s, 2),
        idle_cpu=round(idle / took_s, 2),
        load=round(os.getloadavg()[0], 1),
    )


def _ms(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    median, p99 = np.percentile(seconds or [0.0], [50, 99])
    return round(float(median) * 1000, 1), round(float(p99) * 1000, 1)


def _idle_s() -> float:
    """Of all cores, since the machine was started."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    found = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(found.split()[1]) / 1024


async def _all(numbers: Sequence[int], seconds: float) -> list[Point]:
    found = []
    for agents in numbers:
        for kind in (ALONE, RAW, *((OWN,) if agents == min(numbers) else ())):
            progress(f"{agents} agents, {kind}")
            found.append(await measure(agents, kind, seconds))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_watchers", description="See docs/reference/scale.md.")
    parser.add_argument("--watchers", type=int, nargs="+", default=NUMBERS, metavar="N", help="agents that watch")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help="of each measure (15)")
    parser.add_argument("--json", action="store_true", help="everything measured")
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.hold:
        asyncio.run(hold(**json.loads(asked.hold)))
        return 0
    found = asyncio.run(_all(asked.watchers, asked.seconds))
    line = fitted(found)
    if asked.json:
        points = [asdict(point) for point in found]
        print(json.dumps({"points": points, "line": asdict(line) if line else None}, indent=1))
        return 0
    said = words(line, (100, 200, 500), beat_s=BEAT_S) if line else []
    print("\n".join([table(found), "", *said]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
