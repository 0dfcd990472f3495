"""The hand-written types and numbers of libvirt against the installed module, and what is said when there is none."""

import ast
import inspect
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import libvirt
import pytest

from vmha.hypervisor import lifecycle, states

STUB = Path(__file__).parents[3] / "typings" / "libvirt.pyi"
SINCE_9_2 = {"VIR_DOMAIN_PAUSED_API_ERROR"}


def declared() -> list[tuple[str, list[str] | None]]:
    """Every name of the stub; for functions with their parameters' names."""
    found: list[tuple[str, list[str] | None]] = []

    def visit(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.append((prefix + name, None))
                case ast.FunctionDef(name=name, args=arguments):
                    found.append((prefix + name, [each.arg for each in arguments.args]))
                case ast.ClassDef(name=name, body=body):
                    found.append((prefix + name, None))
                    visit(body, f"{prefix}{name}.")

    visit(ast.parse(STUB.read_text()).body, "")
    return found


@pytest.mark.parametrize(("name", "parameters"), declared(), ids=[name for name, _ in declared()])
def test_declared_name_exists_in_the_real_module(name: str, parameters: list[str] | None) -> None:
    thing = libvirt
    for part in name.split("."):
        thing = getattr(thing, part)
    if parameters is None or name in ("virEventRegisterDefaultImpl", "virEventRunDefaultImpl"):
        return
    assert list(inspect.signature(thing).parameters)[: len(parameters)] == parameters


@pytest.mark.parametrize(
    ("numbers", "prefix"),
    [
        (lifecycle.Lifecycle, "VIR_DOMAIN_EVENT_"),
        (lifecycle.Started, "VIR_DOMAIN_EVENT_STARTED_"),
        (lifecycle.Suspended, "VIR_DOMAIN_EVENT_SUSPENDED_"),
        (lifecycle.Stopped, "VIR_DOMAIN_EVENT_STOPPED_"),
        (lifecycle.Shutdown, "VIR_DOMAIN_EVENT_SHUTDOWN_"),
        (states.RawState, "VIR_DOMAIN_"),
        (states.Paused, "VIR_DOMAIN_PAUSED_"),
        (states.Running, "VIR_DOMAIN_RUNNING_"),
        (states.Shutoff, "VIR_DOMAIN_SHUTOFF_"),
    ],
)
def test_numbers_are_libvirts(numbers: type[IntEnum], prefix: str) -> None:
    known = [each for each in numbers if prefix + each.name not in SINCE_9_2 or hasattr(libvirt, prefix + each.name)]
    assert {each.name: each.value for each in known} == {
        each.name: getattr(libvirt, prefix + each.name) for each in known
    }


def test_watchdogs_power_off_is_libvirts_number() -> None:
    assert libvirt.VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF == lifecycle.WATCHDOG_POWEROFF


def test_without_the_binding_one_line_says_what_to_install() -> None:
    program = """
import asyncio, sys
sys.modules["libvirt"] = None
from vmha.hypervisor.real.adapter import LibvirtHypervisor
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected
try:
    asyncio.run(LibvirtHypervisor("qemu:///system", cluster="c", clock=SystemClock()).open())
except Rejected as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "apt-get install python3-libvirt" in done.stdout
    assert "pip install '.[libvirt]'" in done.stdout
    assert done.stdout.count("\n") == 1
