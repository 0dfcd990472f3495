"""Garbage under every key, while the cluster runs: no agent ends by it, and the vms it does not concern are served."""

import asyncio
import random  # noqa: TID251 (seeded)

import pytest

from tests.sim.probes import add_running, delete, put, raw
from tests.support import garbage
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.keys import KEY_TYPES

NAMES = {
    "domains": ("home", "gone"),
    "nodes": ("n2", "n3", "n9", "\x7f"),
    "vms": ("victim", "other", "ghost"),
    "requests": ("q1", "q2"),
    "outcomes": ("q1", "q2"),
    "answers": ("n1",),
}
ROUNDS = 25
OF_THE_WHOLE = ("schema", "config", "leader", "history", "pause", "nodes")
"""What concerns everybody: put back before the others are looked at, as an operator would."""


def draw_key(rng: random.Random) -> str:
    pattern = rng.choice(KEY_TYPES)[0]
    before = ("", *pattern)
    return "/".join(rng.choice(NAMES.get(before[at], ("a",))) if it == "*" else it for at, it in enumerate(pattern))


async def put_garbage(cluster: Cluster, rng: random.Random, key: str) -> bytes | None:
    """Returns what was there before."""
    was = raw(cluster, key)
    await put(cluster, key, garbage.value(rng, was))
    await asyncio.sleep(rng.choice((0.01, 0.5, 2.0, 6.0)))
    return was


async def put_back(cluster: Cluster, key: str, was: bytes | None) -> None:
    if was is None or key.endswith(("/leader", "/session", "/beat", "/status", "/history")):
        await delete(cluster, key)  # whoever it belongs to writes it again
    else:
        await put(cluster, key, was)


@pytest.mark.parametrize("seed", range(24))
def test_cluster_lives_through_garbage_and_serves_the_others(seed: int) -> None:
    rng = random.Random(seed)

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.add("victim", memory_mib=512, vcpus=1, start=True)
        await cluster.hands.add("other", memory_mib=512, vcpus=1, start=False)
        await cluster.rest()
        prefix = cluster.world.keys.prefix
        before: dict[str, bytes | None] = {}
        for _ in range(ROUNDS):
            key = prefix + draw_key(rng)
            was = await put_garbage(cluster, rng, key)
            if key.removeprefix(prefix).startswith(OF_THE_WHOLE):
                before.setdefault(key, was)
            if rng.randrange(2):
                await put_back(cluster, key, was)
        for key, was in before.items():
            await put_back(cluster, key, was)
        await asyncio.sleep(40.0)
        assert cluster.world.crashes == []
        assert len(cluster.where("web")) == 1
        await cluster.hands.add("db", memory_mib=16, vcpus=1, start=True)
        await until(lambda: len(cluster.where("db")) == 1, what="another vm starts", timeout_s=120.0)
        await cluster.hands.stop("db")
        await until(lambda: cluster.where("db") == [], what="it stops", timeout_s=60.0)

    in_cluster(scene)


@pytest.mark.parametrize("kind", ["vms/victim/spec", "vms/victim/placement", "nodes/n3/spec", "nodes/n3/status"])
def test_one_unreadable_record_is_told_where_it_lies_and_holds_nobody_else_up(kind: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.add("victim", memory_mib=512, vcpus=1, start=True)
        await cluster.rest()
        key = cluster.world.keys.prefix + kind
        await put(cluster, key, b"[" * 100_000)
        await asyncio.sleep(1.0)
        assert key in cluster.observer.snapshot.problems
        await cluster.hands.migrate("web", "n2")
        await until(lambda: cluster.where("web") == ["n2"], what="web migrates", timeout_s=30.0)

    in_cluster(scene)


@pytest.mark.parametrize("key", ["nodes/\udcff/beat", "vms/\udcff/freeze"])
def test_good_record_under_a_name_that_is_no_text_stops_nobody(key: str) -> None:
    """A byte that is no UTF-8, in a key where the record itself names nobody: whoever wrote of it could not."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        await cluster.hands.freeze("web", for_s=2.0)
        mirrored = {"beat": "nodes/n1/beat", "freeze": "vms/web/freeze"}[key.rsplit("/", 1)[-1]]
        await put(cluster, cluster.world.keys.prefix + key, raw(cluster, cluster.world.keys.prefix + mirrored))
        await asyncio.sleep(30.0)
        assert cluster.world.crashes == []
        await cluster.hands.add("db", memory_mib=16, vcpus=1, start=True)
        await until(lambda: len(cluster.where("db")) == 1, what="another vm starts", timeout_s=30.0)

    in_cluster(scene)
