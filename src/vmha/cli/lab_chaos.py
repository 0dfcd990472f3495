"""``vmha lab chaos``: rounds of real faults on real hosts, and the verdict of the witness disks.

Exit codes: 0 every round is good; 1 at least one is not, or the lab failed: the evidence's directory and the line that
replays the round are printed; 2 impossible options; 130 interrupted. The lab is taken down in every case.
"""

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmha.lab import launch, teardown
from vmha.lab.layout import LabDir, LabSpec
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected, Retryable

if TYPE_CHECKING:
    from vmha.lab.chaos.report import Result
    from vmha.lab.chaos.rounds import Run
    from vmha.lab.chaos.schedule import Round

_JOIN_TIMEOUT_S = 60.0
_INTERRUPTED = 130


def chaos(
    *,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same rounds.")] = 1,
    rounds: Annotated[int, typer.Option(min=0, max=100_000, help="How many; 0: only write the record.")] = 15,
    first_round: Annotated[int, typer.Option(min=1, help="The first round's number: one can be played alone.")] = 1,
    hosts: Annotated[int, typer.Option(min=2, max=16, help="Hosts of the lab.")] = 3,
    vms: Annotated[int, typer.Option(min=1, max=32, help="Witness guests.")] = 3,
    etcd: Annotated[int, typer.Option(help="etcd members, 1 or 3.")] = 3,
    profile: Annotated[str, typer.Option(help="The cluster's timing: default or tuned.")] = "tuned",
    fence: Annotated[
        bool | None,
        typer.Option("--fence/--no-fence", help="Hosts have a power switch; when not given: those of odd seeds."),
    ] = None,
    slack: Annotated[float, typer.Option(min=1.0, max=20.0, help="Multiplies the budget of a recovery.")] = 1.0,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Do not end at the first bad round.")] = False,
    show_schedule: Annotated[bool, typer.Option("--schedule", help="Print the rounds as drawn and end.")] = False,
    directory: Annotated[Path | None, typer.Option("--dir", help="Where to build the lab (default: in /tmp).")] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Where bad rounds leave their evidence (default: a new one in /tmp).")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Add a line of JSON for each round to this file.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write the record of all --results to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Break a real cluster in rounds drawn from a seed, heal it, judge by the witness disks: never two, all back."""
    from vmha.cli import lab_cluster
    from vmha.cli.lab_errors import plain_errors
    from vmha.lab.chaos import report
    from vmha.lab.chaos.rounds import Run
    from vmha.lab.chaos.schedule import Shape
    from vmha.model.settings import PROFILES

    has_fence = seed % 2 == 1 if fence is None else fence
    with plain_errors():
        chosen = lab_cluster.find_profile(profile)
        if record is not None and results is None:
            raise Rejected("--record needs the file of results it is made of", accepted="--results FILE")
        shape = Shape.of(hosts=hosts, etcd=etcd, vms=vms, timing=PROFILES[chosen])
        run = Run(seed=seed, first_round=first_round, rounds=rounds, shape=shape, profile=profile, slack=slack)
        if show_schedule:
            drawn = [played.to_dict() for played in run.schedule]
            typer.echo(json.dumps(drawn, indent=1) if as_json else "\n".join(map(report.schedule_line, run.schedule)))
            return
        tell: Callable[[str], None] = (lambda _: None) if as_json else typer.echo
        found: list[report.Result] = []
        was_interrupted = False
        if rounds:
            session = _Session(
                run, fence=has_fence, keep_going=keep_going, evidence=evidence, results=results, tell=tell
            )
            found, was_interrupted = session.play(directory), session.was_interrupted
        if record is not None and results is not None:
            record.write_text(report.record(report.load_results(results)))
    if as_json:
        typer.echo(json.dumps({"totals": asdict(report.total(found)), "rounds": [asdict(r) for r in found]}, indent=1))
    elif found:
        _show_totals(found)
    if any(result.violations for result in found):
        raise typer.Exit(1)
    if was_interrupted:
        raise typer.Exit(_INTERRUPTED)


class _Session:
    """One lab from its first process to its last, and the rounds in it."""

    def __init__(
        self,
        run: "Run",
        *,
        fence: bool,
        keep_going: bool,
        evidence: Path | None,
        results: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        self._run, self._fence, self._keep_going = run, fence, keep_going
        self._evidence, self._results, self._tell = evidence, results, tell
        self._clock = SystemClock()
        self._found: list[Result] = []
        self.was_interrupted = False

    def play(self, directory: Path | None) -> "list[Result]":
        """The results of all rounds played. The lab is gone afterwards, whatever happened.

        Raises:
            Rejected, Retryable: the lab, or its first guests, did not come up.
        """
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # both interrupts end in the same tidying up
        made = None if directory else Path(tempfile.mkdtemp(prefix="vmha-chaos-", dir="/tmp"))
        lab = LabDir(made / "lab" if made else directory.resolve())  # type: ignore[union-attr]
        is_up = False
        try:
            built = launch.up(self._spec(lab))  # takes everything down again itself when it fails or is interrupted
            is_up = True
            self._prepare(lab, built)
            asyncio.run(self._play_rounds(lab))
        except KeyboardInterrupt:
            typer.echo("interrupted: the lab is taken down", err=True)
            self.was_interrupted = True
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half a lab behind
            if is_up:
                teardown.down(lab)
            if made:
                shutil.rmtree(made, ignore_errors=True)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return self._found

    def _spec(self, lab: LabDir) -> LabSpec:
        shape = self._run.shape
        return launch.make_spec(
            lab.path, hosts=len(shape.hosts), etcd=len(shape.members), profile=self._run.profile, agents=True
        )

    def _prepare(self, lab: LabDir, built: launch.LabUp) -> None:
        from vmha.cli import lab_cluster

        shape = self._run.shape
        lab_cluster.configure(
            lab, lab_cluster.find_profile(self._run.profile), fenced=shape.hosts if self._fence else ()
        )
        if not lab_cluster.await_members(lab, shape.hosts, timeout_s=_JOIN_TIMEOUT_S * self._run.slack):
            raise Retryable("not all agents of the lab came online")
        switch = "with" if self._fence else "without"
        self._tell(
            f"seed {self._run.seed}: {len(shape.hosts)} hosts {switch} a power switch, {len(shape.members)} etcd, "
            f"{len(shape.vms)} guests, in {lab.path}"
        )
        if not built.watchdog:
            self._tell("hosts have no /dev/watchdog: freezes are kept short, which is less of a test")

    async def _play_rounds(self, lab: LabDir) -> None:
        from vmha.lab.chaos import report
        from vmha.lab.chaos.rounds import play

        async with aclosing(play(self._run, lab, self._clock, evidence=self._evidence_of)) as outcomes:
            async for outcome, where in outcomes:
                result = report.Result.of(outcome, self._run.shape, fence=self._fence)
                self._found.append(result)
                if self._results is not None:
                    with self._results.open("a") as file:
                        file.write(f"{json.dumps(asdict(result))}\n")
                self._tell("\n".join([report.outcome_line(outcome), *report.detail_lines(outcome)]))
                if where is not None:
                    typer.echo(f"        evidence: {where}", err=True)
                    typer.echo(f"        replay: {self._run.replay_command(outcome.round, self._fence)}", err=True)
                    if not self._keep_going:
                        return

    def _evidence_of(self, played: "Round") -> Path:
        if self._evidence is None:
            self._evidence = Path(tempfile.mkdtemp(prefix="vmha-chaos-evidence-", dir="/tmp"))
        return self._evidence / f"seed-{played.seed}-round-{played.number}"


def _show_totals(found: "list[Result]") -> None:
    from vmha.cli.output import screen, show, table
    from vmha.lab.chaos import report

    show(["", *table(report.FAULT_HEADERS, report.fault_rows(found), screen()), "", *report.summary_lines(found)])
