"""One measure, and the run that collects them.

A measure is a name, a unit and its samples. Its ratio is its median over the median of the baseline of the same run.
A target is either a value in the unit or a ratio; ``met`` says whether the median is within it, and nothing depends on
that. The load of the machine (1-minute average) stands beside each measure: with others at work on the same cores wall
times prove little.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """At most so much: of the unit, or of the baseline."""

    at_most: float
    is_ratio: bool = False

    def __str__(self) -> str:
        return f"<= {self.at_most:g}{' x' if self.is_ratio else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What was measured. ``baseline`` names another measure of the run; ``ratio`` is the median over its median."""

    name: str
    what: str
    unit: str
    samples: tuple[float, ...]
    median: float
    min: float
    max: float
    baseline: str | None
    ratio: float | None
    target: str | None
    met: bool | None
    load: float


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of the benchmarks: how many samples, which measures, and what is known so far."""

    samples: int
    only: Sequence[str] = ()
    out: TextIO = field(default_factory=lambda: sys.stdout)
    found: dict[str, Measure] = field(default_factory=dict)

    def wants(self, names: Collection[str], *, unasked: bool = True) -> bool:
        """Whether one of these measures is to be made. ``unasked``: also when nobody named any."""
        if not self.only:
            return unasked
        return any(name == asked or name.startswith(f"{asked}.") for name in names for asked in self.only)

    def add(
        self,
        name: str,
        what: str,
        samples: Sequence[float],
        *,
        unit: str = "s",
        baseline: str | None = None,
        target: Target | None = None,
    ) -> None:
        """Take a measure down, and print it."""
        median = statistics.median(samples)
        base = self.found.get(baseline) if baseline else None
        ratio = median / base.median if base and base.median else None
        judged = ratio if target and target.is_ratio else median
        measure = Measure(
            name=name,
            what=what,
            unit=unit,
            samples=tuple(round(sample, 4) for sample in samples),
            median=round(median, 4),
            min=round(min(samples), 4),
            max=round(max(samples), 4),
            baseline=base.name if base else None,
            ratio=round(ratio, 3) if ratio is not None else None,
            target=str(target) if target else None,
            met=judged <= target.at_most if target and judged is not None else None,
            load=round(os.getloadavg()[0], 2),
        )
        self.found[name] = measure
        print(json.dumps(asdict(measure)), file=self.out, flush=True)

    def repeat(self, sample: Callable[[], float]) -> list[float]:
        return [sample() for _ in range(self.samples)]

    def write(self, path: Path) -> None:
        """All measures as one JSON array."""
        path.write_text(json.dumps([asdict(measure) for measure in self.found.values()], indent=1) + "\n")

    def table(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("MEASURE", "MEDIAN", "MIN", "MAX", "UNIT", "RATIO", "OF", "TARGET", "MET", "LOAD")
        ]
        for m in self.found.values():
            met = {True: "yes", False: "NO", None: "-"}[m.met]
            ratio = f"{m.ratio:.2f}" if m.ratio is not None else "-"
            numbers = (f"{value:.3f}" for value in (m.median, m.min, m.max))
            rows.append((m.name, *numbers, m.unit, ratio, m.baseline or "-", m.target or "-", met, f"{m.load:.1f}"))
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def progress(words: str) -> None:
    """For whoever waits: on standard error, apart from the measures."""
    print(f"# {words}", file=sys.stderr, flush=True)
