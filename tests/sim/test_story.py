"""The story of a vm, as the journal of a simulated cluster has it: each thing with what it came of."""

from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.holds import PauseMode
from vmha.operator.story import sentences, story
from vmha.policy.telling.story import Chapter


def where(cluster: Cluster) -> str:
    (node,) = cluster.where("web")
    return node


async def told(cluster: Cluster) -> tuple[Chapter, ...]:
    return await story(cluster.hands.operator, "web")


def words(chapter: Chapter) -> list[str]:
    return [line.text for line in chapter.lines]


def ordered(lines: list[str], *words: str) -> bool:
    """Each of ``words`` stands in a line, and in a later one than the word before it."""
    left = iter(lines)
    return all(any(word in line for line in left) for word in words)


def test_recovery_is_one_chapter_from_the_silence_of_the_node_to_the_guest_that_runs() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        lost = where(cluster)
        await cluster.hands.drain("n3" if lost != "n3" else "n2")
        await cluster.rest()
        cluster.hands.host(lost).power_off()
        await cluster.rest()
        chapters = await told(cluster)
        there = where(cluster)
        started, recovered = next(one for one in chapters if one.cause.startswith("assign-")), chapters[-1]
        first = words(started)
        assert ordered(first, "web is to start on", f"{lost} starts it", f"its guest runs on {lost}"), first
        lines = words(recovered)
        assert lines[0] == f"{lost} fell silent"
        assert ordered(lines, f"{lost} was fenced", f"web is recovered on {there}", f"its guest runs on {there}"), lines
        assert "is in maintenance" in next(line for line in lines if "is recovered on" in line)
        assert str(recovered.cause).startswith(f"lost-{lost}-")
        back = recovered.lines[-1]
        assert back.after_loss_s is not None
        assert abs(back.at - recovered.lines[0].at - back.after_loss_s) < 0.1
        said = [text for _, text in sentences(chapters, str)]
        assert f"{lost} fell silent" in said
        assert f"-> {lines[1]}" in said

    in_cluster(scene)


def test_what_ended_by_itself_and_what_was_asked_for_are_causes_of_their_own() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        cluster.hands.crash("web")
        await cluster.rest()
        await cluster.hands.migrate("web", None)
        await cluster.rest()
        await cluster.hands.stop("web")
        await cluster.rest()
        causes = [chapter.cause.partition("-")[0] for chapter in await told(cluster)]
        assert [cause for cause in causes if cause] == ["assign", "crashed", "request", "stop"]
        crashed, asked = (await told(cluster))[-3:-1]
        assert ordered([line.text for line in crashed.lines], "its QEMU died", "web is to start on", "its guest runs")
        assert ordered(
            [line.text for line in asked.lines], "is to go to", "has arrived on", "what was asked for is done"
        )
        entries, _ = await cluster.hands.operator.journal()
        assert {line.vm for line in entries if line.kind == "request-done"} == {"web"}

    in_cluster(scene)


def test_what_an_operator_held_up_is_told_with_who_did_it_and_what_came_of_its_end() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        await cluster.hands.freeze("web", for_s=60.0)
        cluster.hands.crash("web")
        await until(lambda: cluster.where("web") != [], what="web runs again", timeout_s=120.0)
        await cluster.rest()
        of_freeze, of_crash = (await told(cluster))[-2:]
        assert words(of_freeze) == ["it is frozen by operator for 1m: hands off"]
        assert ordered(
            words(of_crash),
            "its QEMU died",
            "web waits: it is frozen by operator: hands off",
            "it is let go on: the time that operator gave it is over (1m): hands off",
            "web is to start on",
            "its guest runs",
        ), words(of_crash)

        await cluster.hands.pause(PauseMode.STARTS)
        lost = where(cluster)
        cluster.hands.host(lost).power_off()
        await cluster.rest()
        assert cluster.where("web") == []
        await cluster.hands.resume()
        await cluster.rest()
        lines = [line for chapter in await told(cluster) for line in words(chapter)]
        assert ordered(
            lines,
            "starts are paused in the whole cluster by operator: hands off",
            f"{lost} was fenced",
            "web waits: starts are paused in the whole cluster by operator: hands off",
            "the cluster is resumed by operator",
            "web is recovered on",
        ), lines

        drained = where(cluster)
        await cluster.hands.drain(drained)
        await cluster.rest()
        of_drain = (await told(cluster))[-1]
        assert of_drain.cause == f"drain-{drained}"
        assert ordered(words(of_drain), f"{drained} is drained by operator", "web is to go to", "has arrived on")
        assert cluster.violations() == []

    in_cluster(scene)


def test_start_and_stop_are_told_with_who_asked_for_them_and_what_came_of_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        await cluster.hands.stop("web")
        await cluster.rest()
        started, stopped = [words(chapter) for chapter in await told(cluster) if chapter.cause]
        assert ordered(started, "it is wanted running: started by operator", "web is to start on", "its guest runs")
        assert ordered(stopped, "it is wanted stopped: stopped by operator", "web is to stop on"), stopped

    in_cluster(scene)
