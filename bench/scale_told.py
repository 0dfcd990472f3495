"""What was measured of the telling (``scale_watchers``), the lines through it, and how both are printed."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.computing import np

ALONE, RAW, OWN = "writes alone", "watched", "agents' own"
KEPT_UP = 0.97
"""Of the beats that were due: with fewer etcd did not keep up, and what it took is no measure of what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """``told``: events that were sent to all who watch, a second. ``etcd_cpu``: cores. Times in milliseconds, from
    before a beat was sent: until it was answered, and until one watch had heard of it. ``kept_up``: beats that were
    committed, of those that were due; ``failed``: those that etcd did not take in time.

    ``least_told``: bytes of the watch that was told least, as a part of the mean. ``behind``: events that etcd still
    had to tell somebody at the end. ``idle_cpu``: cores that the machine had left, ``others_cpu``: that the measure
    itself took.
    """

    agents: int
    kind: str
    kept_up: float
    failed: int
    beats_per_s: float
    told_per_s: float
    etcd_cpu: float
    etcd_mib: float
    sent_mib_per_s: float
    bytes_per_event: float
    least_told: float
    behind: int
    answered_ms: tuple[float, float]
    heard_ms: tuple[float, float]
    others_cpu: float
    idle_cpu: float
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Cores: ``rest`` in any case, ``beat_us`` of one for each beat in a second; and beside that the telling, which is
    ``thousand`` cores where a thousand events a second are told, and grows with their number to the ``power``: the
    more there is to tell, the more of it etcd sends in one piece. ``off``: the largest distance of a measured telling.
    """

    rest: float
    beat_us: float
    thousand: float
    power: float
    off: float

    def writing(self, beats_per_s: float) -> float:
        return self.rest + beats_per_s * self.beat_us / 1e6

    def telling(self, told_per_s: float) -> float:
        return float(self.thousand * (told_per_s / 1000.0) ** self.power)


def tellings(points: Sequence[Point]) -> list[tuple[Point, float]]:
    """Each point that was watched, with the cores that it took more than the same writes alone."""
    alone = {point.agents: point.etcd_cpu for point in points if point.kind == ALONE}
    return [(point, point.etcd_cpu - alone[point.agents]) for point in points if point.kind != ALONE]


def fitted(points: Sequence[Point]) -> Line | None:
    """By least squares, of the telling in logarithms. None: of fewer than two points there is no line."""
    writes = [point for point in points if point.kind == ALONE and point.kept_up >= KEPT_UP]
    told = [
        (point.told_per_s, cores)
        for point, cores in tellings(points)
        if point.kind == RAW and cores > 0 and point.kept_up >= KEPT_UP
    ]
    if len(writes) < 2 or len(told) < 2:
        return None
    beat, rest = np.polyfit([one.beats_per_s for one in writes], [one.etcd_cpu for one in writes], 1)
    events, cores = np.array(told).T
    power, at_thousand = np.polyfit(np.log(events / 1000.0), np.log(cores), 1)
    by_line = np.exp(at_thousand + power * np.log(events / 1000.0))
    return Line(
        rest=round(float(rest), 3),
        beat_us=round(float(beat) * 1e6),
        thousand=round(float(np.exp(at_thousand)), 4),
        power=round(float(power), 2),
        off=round(float(np.max(np.abs(by_line / cores - 1.0))), 2),
    )


_HEAD = (
    "AGENTS",
    "",
    "BEATS/S",
    "KEPT UP",
    "FAILED",
    "TOLD/S",
    "ETCD CPU",
    "US A TOLD",
    "MIB/S",
    "B A TOLD",
    "LEAST",
    "BEHIND",
    "ETCD MIB",
    "ANSWERED MS",
    "HEARD MS",
    "OTHERS",
    "IDLE",
    "LOAD",
)


def table(points: Sequence[Point]) -> str:
    more = {id(point): cores for point, cores in tellings(points)}
    rows: list[tuple[str, ...]] = [_HEAD]
    for point in points:
        each = f"{more[id(point)] / point.told_per_s * 1e6:.1f}" if point.told_per_s else "-"
        rows.append(
            (
                f"{point.agents}",
                point.kind,
                f"{point.beats_per_s:.0f}",
                f"{point.kept_up:.2f}",
                f"{point.failed}",
                f"{point.told_per_s:,.0f}",
                f"{point.etcd_cpu:.2f}",
                each,
                f"{point.sent_mib_per_s:.1f}",
                f"{point.bytes_per_event}",
                f"{point.least_told:.3f}",
                f"{point.behind}",
                f"{point.etcd_mib:.0f}",
                "{:.1f}, {:.1f}".format(*point.answered_ms),
                "{:.1f}, {:.1f}".format(*point.heard_ms),
                f"{point.others_cpu:.2f}",
                f"{point.idle_cpu:.2f}",
                f"{point.load:.1f}",
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def words(line: Line, agents: Sequence[int], *, beat_s: float) -> list[str]:
    """``agents``: how many, each time, to say by the line what they would take."""
    said = [
        f"writing: {line.rest:g} cores, and {line.beat_us:g} us a beat",
        f"telling: {line.thousand:g} cores x (events told in a second / 1000) ^ {line.power:g}; "
        f"no point that kept up is off by more than {line.off:.0%}",
    ]
    for count in agents:
        beats = count / beat_s
        writing, telling = line.writing(beats), line.telling(beats * count)
        said.append(f"{count} agents by these lines: {writing:.2f} cores of writing, {telling:.2f} of telling")
    return said
