"""``vmha demo``: a true story in two minutes, on hosts that it builds for that and takes down again.

Exit codes: 0 when every step was seen and the disk's verdict is "never two"; 1 when something was not seen; 2 when this
machine can not carry a lab (one line says what to do); 130 when it was interrupted. Whatever happens, Ctrl-C and
SIGTERM included, nothing of the lab stays behind.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vmha.cli import lab_cluster
from vmha.cli.demo_screen import DemoScreen
from vmha.cli.demo_story import HOSTS, Story
from vmha.cli.exits import ExitCode
from vmha.cli.output import complain
from vmha.lab import launch, teardown
from vmha.lab.guests import WitnessVerdict
from vmha.lab.layout import CLUSTER, LabDir
from vmha.model.clock import SystemClock
from vmha.model.errors import Refused, Rejected, VmhaError
from vmha.model.keys import Keys
from vmha.model.settings import Profile
from vmha.operator.client import OperatorClient
from vmha.store.etcd import EtcdStore

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
_STEPS = {"machines": "networks are up", "libvirt": "libvirtd answers on every host", "etcd": "etcd answers"}


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab running at the end, to play with.")] = False,
) -> None:
    """Show it on real hosts, in two minutes: a live migration, a power cut, failover, failback, and the proof."""
    clock = SystemClock()
    screen = DemoScreen(clock)
    began_s = clock.now()
    directory = Path(tempfile.mkdtemp(prefix="vmha-demo-"))
    lab = LabDir(directory / "lab")
    kept = False
    with _every_ending_as_ctrl_c():
        try:
            _build(lab, screen)
            asyncio.run(_tell(lab, screen))
            kept = keep
        except KeyboardInterrupt:
            screen.say("interrupted: the lab is taken down")
            raise
        except (Rejected, Refused) as error:
            complain(str(error))
            raise typer.Exit(ExitCode.BAD_INPUT) from error
        except (VmhaError, OSError, TimeoutError) as error:
            screen.failed(f"{error or type(error).__name__}")
            raise typer.Exit(ExitCode.FAILED) from error
        finally:
            if not kept:
                _clear_away(lab, directory)
    seconds = clock.now() - began_s
    if kept:
        screen.say(f"the lab goes on: export VMHA_LAB={lab.path}; vmha status; vmha events; at last vmha lab down")
    else:
        screen.title(f"\nThe lab is down again, and nothing of it is left. All of this took {seconds:.0f} s.")


def _build(lab: LabDir, screen: DemoScreen) -> None:
    spec = launch.make_spec(lab.path, hosts=len(HOSTS), etcd=1, profile=Profile.TUNED, agents=True)
    screen.title("vmha demo: three hosts, one vm, one power cut. What you see happens now, on this machine.")
    screen.act("Three hosts")
    screen.command("vmha lab up --profile tuned")
    launch.up(spec, lambda step: screen.heard(_STEPS[step.step]))
    lab_cluster.configure(lab, Profile.TUNED, fenced=())


async def _tell(lab: LabDir, screen: DemoScreen) -> WitnessVerdict:
    store = EtcdStore([f"unix:{lab.etcd}"])
    try:
        return await Story(lab, OperatorClient(store, Keys(CLUSTER), screen.clock, author="vmha demo"), screen).tell()
    finally:
        await store.close()


@contextmanager
def _every_ending_as_ctrl_c() -> Iterator[None]:
    """SIGTERM and a closed terminal take the path of Ctrl-C, which clears away.

    Ctrl-C itself is listened to even where it was to be ignored, as in a job that a shell script put into the
    background: SIGTERM would then be ignored with it.
    """
    before = {number: signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT)) for number in _ENDINGS}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _clear_away(lab: LabDir, directory: Path) -> None:
    """A second Ctrl-C must not leave half a lab behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_ENDINGS)}
    try:
        teardown.down(lab)
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
