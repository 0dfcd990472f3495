"""What Prometheus is told, scraped as Prometheus does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.sim.probes import add_running, leader_of, scrape
from tests.support.clusters import cluster as small_cluster
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.clock import SystemClock
from vmha.model.holds import PauseMode
from vmha.model.ids import NodeName
from vmha.node.happenings import Happenings
from vmha.node.metric_names import METRICS, Kind
from vmha.node.metrics import MemberMetrics
from vmha.node.metrics_http import serve_metrics
from vmha.node.settings import NodeSettings
from vmha.node.stalls import Stalls
from vmha.node.survival_metrics import IN_A_THREAD_FROM, SurvivalMetrics
from vmha.store.memory_store import MemoryStore
from vmha.store.metered import Metered


def test_a_healthy_node_says_how_it_is_armed_and_how_long_its_hold_lasts() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        told = scrape(cluster, "n1")
        assert (told["vmha_armed", "watchdog"], told["vmha_armed", "guard"], told["vmha_armed", "none"]) == (1, 0, 0)
        assert (told["vmha_guard_alive", ""], told["vmha_eligible", ""]) == (1, 1)
        assert 0 < told["vmha_hold_left_seconds", ""] <= 4.0
        assert told["vmha_session_age_seconds", ""] > 1
        assert told["vmha_beats_total", "committed"] > 5
        assert told["vmha_beats_total", "failed"] == 0
        assert (told["vmha_nodes", "online"], told["vmha_vms", "running"], told["vmha_vms", "duplicate"]) == (3, 1, 0)
        leaders = sum(scrape(cluster, node)["vmha_leader", ""] for node in ("n1", "n2", "n3"))
        assert leaders == 1

    in_cluster(scene, watchdog_s=2)


def test_a_node_without_its_guard_says_so_and_that_it_is_not_eligible() -> None:
    async def scene(cluster: Cluster) -> None:
        guard = cluster.hands.host("n1").guard
        assert guard
        guard.stop()
        await until(lambda: scrape(cluster, "n1")["vmha_guard_alive", ""] == 0, what="its guard is missed")
        told = scrape(cluster, "n1")
        assert (told["vmha_armed", "none"], told["vmha_eligible", ""]) == (1, 0)
        assert ("vmha_hold_left_seconds", "") not in told

    in_cluster(scene)


def test_while_etcd_is_down_the_hold_runs_out_and_beats_fail_before_everybodys_eyes() -> None:
    async def scene(cluster: Cluster) -> None:
        before = scrape(cluster, "n2")
        cluster.world.etcd.stop()
        await asyncio.sleep(2.5)
        now = scrape(cluster, "n2")
        assert now["vmha_beats_total", "failed"] > before["vmha_beats_total", "failed"]
        assert now["vmha_hold_left_seconds", ""] < 2.0
        assert now["vmha_guard_alive", ""] == 1

    in_cluster(scene)


def test_while_etcd_is_down_everything_is_still_told_and_the_lease_runs_out_too() -> None:
    async def scene(cluster: Cluster) -> None:
        before = scrape(cluster, "n2")
        assert (before["vmha_store_answers", ""], before["vmha_leader_known", ""]) == (1, 1)
        assert before["vmha_lease_left_seconds", ""] > 0
        cluster.world.etcd.stop()
        await asyncio.sleep(2.5)
        now = scrape(cluster, "n2")
        assert {name for name, _ in now} == {name for name, _ in before}
        assert now["vmha_store_answers", ""] == 0
        assert now["vmha_lease_age_seconds", ""] > 2.0
        assert now["vmha_lease_left_seconds", ""] < before["vmha_lease_left_seconds", ""]

    in_cluster(scene)


def test_holds_and_what_is_missing_are_told() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1",))
        assert scrape(cluster, "n2")["vmha_vms_missing", ""] == 0
        await cluster.hands.freeze("web")
        await cluster.hands.pause(PauseMode.ALL)
        cluster.hands.host("n1").cut()
        await until(lambda: scrape(cluster, "n2")["vmha_vms_missing", ""] == 1, what="it is missed", timeout_s=30.0)
        told = scrape(cluster, "n2")
        assert (told["vmha_vms_frozen", ""], told["vmha_paused", "all"], told["vmha_paused", "starts"]) == (1, 1, 0)

    in_cluster(scene)


def test_the_leader_names_the_nodes_that_are_not_online() -> None:
    async def scene(cluster: Cluster) -> None:
        leader = leader_of(cluster)
        other, third = [node for node in ("n1", "n2", "n3") if node != leader]
        told = scrape(cluster, leader)
        assert [told["vmha_node_online", node] for node in ("n1", "n2", "n3")] == [1, 1, 1]
        assert ("vmha_node_online", "n1") not in scrape(cluster, other)
        cluster.hands.host(third).cut()
        await until(
            lambda: scrape(cluster, leader)["vmha_node_online", third] == 0, what="it is missed", timeout_s=30.0
        )
        assert scrape(cluster, leader)["vmha_plan_duration_seconds_count", ""] > 0

    in_cluster(scene)


def test_a_scrape_of_the_leader_gives_every_metric_of_the_reference_and_no_other() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        member = cluster.hands.host(leader_of(cluster)).member
        assert member
        clock = cluster.world.clock
        numbers = MemberMetrics(
            member,
            clock,
            cluster="sim",
            happenings=Happenings(clock, is_leading=lambda: True),
            store=Metered(MemoryStore(cluster.world.etcd, "n1"), clock),
            stalls=Stalls(),
        )
        text = generate_latest(numbers.registry()).decode()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert {
            family.name + "_total" * (family.type == "counter"): (family.type, family.documentation)
            for family in families.values()
        } == {one.name: (str(one.kind), one.text) for one in METRICS.values()}
        for one in METRICS.values():
            for sample in families[one.name.removesuffix("_total")].samples:
                assert set(sample.labels) - {"le"} == set(one.labels), one.name

    in_cluster(scene)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_names_follow_the_conventions(name: str) -> None:
    one = METRICS[name]
    assert name.startswith("vmha_")
    assert name.endswith("_total") == (one.kind is Kind.COUNTER)
    assert one.kind is not Kind.HISTOGRAM or name.endswith("_seconds")
    assert one.text


def test_fencing_that_fails_is_counted_by_the_leader_and_seen_by_all() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.register("n3", fence=True)
        await add_running(cluster, "web", on=("n3", "n1", "n2"))
        cluster.hands.break_switch("n3")
        cluster.hands.host("n3").cut()
        leader = cluster.observer.snapshot.leader
        assert leader
        other = next(node for node in ("n1", "n2") if node != leader.value.node)

        def has_failed() -> bool:
            return any(
                scrape(cluster, node)["vmha_fencing_attempts_total", "failed"] > 0 for node in ("n1", "n2")
            ) and bool(scrape(cluster, other)["vmha_fencing_failing_nodes", ""])

        await until(has_failed, what="a failed attempt", timeout_s=20.0)

    in_cluster(scene)


def test_the_leader_tells_whether_the_loss_of_a_node_would_be_survived() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        leader = cluster.observer.snapshot.leader
        assert leader
        told = scrape(cluster, leader.value.node)
        assert told["vmha_survives_node_loss", ""] == 1
        assert [told["vmha_node_loss_vms", node] for node in ("n1", "n2", "n3")] == [0, 0, 0]
        assert told["vmha_node_loss_unknown_nodes", ""] == 0
        for node in ("n2", "n3"):
            await cluster.hands.drain(node)
        await cluster.rest()
        told = scrape(cluster, leader.value.node)
        assert (told["vmha_survives_node_loss", ""], told["vmha_node_loss_vms", "n1"]) == (0, 1)
        other = next(node for node in ("n1", "n2", "n3") if node != leader.value.node)
        assert ("vmha_survives_node_loss", "") not in scrape(cluster, other)

    in_cluster(scene)


def test_in_a_large_cluster_it_is_worked_out_beside_the_loop_and_told_by_a_later_scrape() -> None:
    book = small_cluster("n1", "n2")
    for number in range(IN_A_THREAD_FROM):
        book.running(f"vm{number}", "n1")

    async def scene() -> None:
        metrics, snapshot = SurvivalMetrics(SystemClock()), book.snapshot()
        assert list(metrics.collect(snapshot, wall=0.0)) == []
        await until(lambda: list(metrics.collect(snapshot, wall=0.0)) != [], what="an answer", timeout_s=60.0)
        assert [metric.name for metric in metrics.collect(snapshot, wall=0.0)] == [
            "vmha_survives_node_loss",
            "vmha_node_loss_vms",
            "vmha_node_loss_unknown_nodes",
        ]

    asyncio.run(scene())


@pytest.fixture
async def endpoint() -> AsyncIterator[int]:
    async with await serve_metrics("127.0.0.1", 0, lambda: b"vmha_leader 1.0\n") as server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if not request.endswith(b"\r\n\r\n"):
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 60.0)
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1", b"200 OK", b"vmha_leader 1.0\n"),
        (b"GET /metrics?name[]=x HTTP/1.1", b"200 OK", b"vmha_leader 1.0\n"),
        (b"GET / HTTP/1.1", b"404 Not Found", b"see /metrics\n"),
        (b"POST /metrics HTTP/1.1", b"405 Method Not Allowed", b"only GET\n"),
        (b"\x00\xff", b"405 Method Not Allowed", b"only GET\n"),
    ],
)
async def test_the_endpoint_answers_one_request(endpoint: int, request_line: bytes, status: bytes, body: bytes) -> None:
    answer = await ask(endpoint, request_line + b"\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("nonsense", [b"", b"GET /met", b"x" * 100_000])
async def test_nonsense_is_hung_up_on_and_hurts_nobody(endpoint: int, nonsense: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it may hang up before all is sent
        assert await ask(endpoint, nonsense) == b""
    assert b"200 OK" in await ask(endpoint, b"GET /metrics HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("address", ["", "127.0.0.1:9590", "[::1]:9590", "kvm1:9590"])
def test_an_endpoint_is_an_address_and_a_port(address: str) -> None:
    assert NodeSettings(endpoints=("a:1",), node=NodeName("n1"), metrics_listen=address).metrics_listen == address


@pytest.mark.parametrize("address", ["9590", "127.0.0.1:", "a b:1"])
def test_anything_else_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="metrics_listen"):
        NodeSettings(endpoints=("a:1",), node=NodeName("n1"), metrics_listen=address)
