"""The story of a vm, as the journal of a simulated cluster has it: each thing with what it came of."""

from tests.support.worlds import Cluster, in_cluster
from vmha.operator.story import sentences, story
from vmha.policy.story import Chapter


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
        said = [text for _, text in sentences(chapters)]
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
