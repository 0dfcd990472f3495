"""What the answers to a vm's probes mean. Pure: answers and instants in, a verdict out.

    nothing known --answers--> healthy --too many failures--> failing --answers--> healthy
         |                                                       ^
         +--start_timeout_s without an answer--------------------+

* A guest that boots is given ``start_timeout_s`` to answer for the first time; until then its failures do not count.
* Too many: ``failures`` in a row, or more than ``max_failures`` within ``failure_window_s`` (RGManager's tolerance:
  then also those that were not in a row). One good answer ends the row; the window it does not.
* A probe that could not be asked (its program is missing, libvirtd is silent) says nothing about the guest: unknown is
  not failing. It ends nobody; what waits for it waits on, and is told why.
* A guest agent that has never answered in this run may not be installed: only one that has answered can fall silent.
* A vm with ``no_kill`` is never ended for its health, only shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from vmha.model.health import Probe, ProbeKind
from vmha.model.records import Health, HealthState

REMEMBERED = 1000
"""Failures within the window of one probe; no more can be asked for."""


class Answer(StrEnum):
    GOOD = "good"
    BAD = "bad"
    NONE = "none"  # it could not be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of asking once; ``at`` is the asker's clock."""

    at: float
    answer: Answer
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One probe of one run of a guest. ``since``: when the run began, or was first seen."""

    since: float
    has_answered: bool = False
    in_a_row: int = 0
    failed_at: tuple[float, ...] = ()
    last: Asked | None = None

    def took(self, asked: Asked) -> "Record":
        match asked.answer:
            case Answer.GOOD:
                return replace(self, has_answered=True, in_a_row=0, last=asked)
            case Answer.BAD:
                failed_at = (*self.failed_at, asked.at)[-REMEMBERED:]
                return replace(self, in_a_row=self.in_a_row + 1, failed_at=failed_at, last=asked)
            case Answer.NONE:
                return replace(self, last=asked)


class Consequence(StrEnum):
    NONE = "none"
    RECOVER = "recover"  # as if it had crashed
    START_FAILED = "start-failed"  # tried on another node


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """``health``: for everybody to see; ``why``: for the record, when something follows."""

    health: Health
    consequence: Consequence = Consequence.NONE
    why: str = ""


def judge_probe(probe: Probe, record: Record, now: float, *, is_starting: bool = False) -> HealthState:
    last = record.last
    if last is None:
        return HealthState.STARTING
    if last.answer is Answer.NONE:
        return HealthState.UNKNOWN
    if not record.has_answered:
        if now - record.since < probe.initial_delay_s + probe.start_timeout_s:
            return HealthState.STARTING
        may_lack_it = probe.kind is ProbeKind.AGENT and not (probe.start_gate and is_starting)
        return HealthState.UNKNOWN if may_lack_it else HealthState.FAILING
    window = [at for at in record.failed_at if now - at < probe.failure_window_s]
    if 0 < probe.failures <= record.in_a_row or 0 < probe.max_failures < len(window):
        return HealthState.FAILING
    return HealthState.HEALTHY


def judge(
    probes: Iterable[Probe], records: Mapping[str, Record], *, now: float, is_starting: bool, no_kill: bool = False
) -> Judged | None:
    """The whole vm. None: it has no probes.

    Args:
        is_starting: this run began with a start that waits for its gate. False: it came in, or had passed it.
    """
    states = [(probe, judge_probe(probe, records[probe.title], now, is_starting=is_starting)) for probe in probes]
    if not states:
        return None
    texts = {probe.title: _in_words(probe, records[probe.title], state) for probe, state in states}
    gates = [probe for probe, _ in states if probe.start_gate and is_starting and not records[probe.title].has_answered]
    worst = next((state for state in _WORST_FIRST if any(found is state for _, found in states)), HealthState.HEALTHY)
    health = Health(
        state=worst,
        ready=not gates and all(state is HealthState.HEALTHY for probe, state in states if probe.readiness),
        gated=bool(gates),
        text="; ".join(texts[probe.title] for probe, state in states if state is not HealthState.HEALTHY),
    )
    failing = [probe for probe, state in states if state is HealthState.FAILING]
    at_gate = [probe for probe in failing if probe in gates]
    ill = [probe for probe in failing if probe.liveness and probe not in gates]
    if no_kill or not (at_gate or ill):
        return Judged(health=health)
    why = "; ".join(texts[probe.title] for probe in at_gate or ill)
    return Judged(health=health, consequence=Consequence.START_FAILED if at_gate else Consequence.RECOVER, why=why)


_WORST_FIRST = (HealthState.FAILING, HealthState.UNKNOWN, HealthState.STARTING)


def _in_words(probe: Probe, record: Record, state: HealthState) -> str:
    said = f": {record.last.text}" if record.last and record.last.text else ""
    match state:
        case HealthState.STARTING:
            return f"probe {probe.title} has not answered yet{said}"
        case HealthState.UNKNOWN if record.last and record.last.answer is Answer.NONE:
            return f"probe {probe.title} could not be asked{said}"
        case HealthState.UNKNOWN:
            return f"probe {probe.title} has never answered in this run: is there a guest agent?"
        case HealthState.FAILING if not record.has_answered:
            return f"probe {probe.title} did not answer within {probe.start_timeout_s:g} s of the start{said}"
        case HealthState.FAILING if 0 < probe.failures <= record.in_a_row:
            return f"probe {probe.title} failed {probe.failures} times in a row{said}"
        case HealthState.FAILING:
            return (
                f"probe {probe.title} failed more than {probe.max_failures} times in {probe.failure_window_s:g} s{said}"
            )
        case HealthState.HEALTHY:
            return ""
