"""Room is short, and the cluster lets more important vms stop others: on hosts, where stopping takes its time."""

from tests.sim.probes import placement, put
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.model.records import Phase
from vmha.sim.chaos import live
from vmha.sim.drawing.draw import Options, draw
from vmha.sim.quiet import silence_logs

SEEDS = (75, 664, 908)
MIB = 12288
SIZED = (("db", 200), ("mail", 100), ("web", 50))


async def allow(cluster: Cluster, *, preempt: bool) -> None:
    config = (await cluster.hands.operator.read()).config
    await put(cluster, cluster.world.keys.config, config.model_copy(update={"preempt": preempt}))


async def lose_the_host_of_db(cluster: Cluster) -> tuple[str, str, str]:
    """Each of three hosts of 16 GiB is filled by a vm of 12; then the most important one's has no power.

    Returns where db, mail and web were.
    """
    for name, priority in SIZED:
        await cluster.hands.add(name, memory_mib=MIB, vcpus=1, start=True, priority=priority)
    await cluster.rest()
    [lost], [stays], [left] = (cluster.where(name) for name, _ in SIZED)
    assert {lost, stays, left} == {"n1", "n2", "n3"}
    cluster.hands.host(lost).power_off()
    await cluster.rest()
    return lost, stays, left


def most_on_a_host(cluster: Cluster) -> int:
    """How many guests any one host had at any instant, by the hosts' own history."""
    there: dict[str, set[str]] = {}
    most = 0
    for fact in cluster.world.fabric.history:
        on_host = there.setdefault(fact.host, set())
        if fact.deed is Deed.ENDS:
            on_host.discard(fact.vm)
        else:
            on_host.add(fact.vm)
        most = max(most, len(on_host))
    return most


def test_least_important_vm_is_stopped_for_one_that_was_lost_and_comes_back_by_itself_with_the_room() -> None:
    async def scene(cluster: Cluster) -> None:
        await allow(cluster, preempt=True)
        lost, stays, left = await lose_the_host_of_db(cluster)
        assert cluster.where("db") == [left]
        assert cluster.where("mail") == [stays]
        assert cluster.where("web") == []
        waits = placement(cluster, "web")
        assert waits is not None
        assert waits.phase is Phase.STOPPED
        assert waits.reason.text.startswith("it gave way to db; no node can take it: ")
        cluster.hands.host(lost).power_on()
        await cluster.rest()
        assert cluster.where("web") == [lost]
        assert cluster.where("db") == [left]
        assert cluster.where("mail") == [stays]
        assert most_on_a_host(cluster) == 1  # two would take 24 of 16 GiB
        assert cluster.violations() == []

    in_cluster(scene)


def test_unless_the_cluster_says_so_the_more_important_vm_waits() -> None:
    async def scene(cluster: Cluster) -> None:
        await allow(cluster, preempt=False)
        lost, stays, left = await lose_the_host_of_db(cluster)
        assert (cluster.where("db"), cluster.where("mail"), cluster.where("web")) == ([], [stays], [left])
        cluster.hands.host(lost).power_on()
        await cluster.rest()
        assert (cluster.where("db"), cluster.where("mail"), cluster.where("web")) == ([lost], [stays], [left])
        assert cluster.violations() == []

    in_cluster(scene)


def test_random_lives_stop_vms_for_more_important_ones_and_keep_the_invariants() -> None:
    silence_logs()
    options = Options(nodes=(3, 3), vms=(6, 6), steps=20)
    assert all(draw(seed, options).preempt for seed in SEEDS)
    lives = [live(seed, options) for seed in SEEDS]
    assert [life.what_is_wrong() for life in lives if not life.is_good] == []
    texts = [line.text for life in lives for line in life.journal]
    assert any("is more important (priority" in text for text in texts)
    assert any(text.startswith("it gave way to ") for text in texts)
