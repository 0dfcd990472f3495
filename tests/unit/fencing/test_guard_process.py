"""The guard as a program: what it imports, its settings, its level."""

import subprocess
import sys
from pathlib import Path

import pytest

from vmha.fencing.guard import ConfigError, level_of, read_settings
from vmha.node.settings import NodeSettings


def test_the_guard_imports_the_standard_library_and_its_own_files_only() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "import vmha.fencing.guard\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    loaded = answer.stdout.split()
    foreign = {name for name in loaded if name.split(".")[0] not in {*sys.stdlib_module_names, "vmha"}}
    assert foreign == set()
    ours = {name for name in loaded if name.split(".")[0] == "vmha"} - {"vmha", "vmha.fencing"}
    assert "vmha.fencing.guard" in ours
    assert all(name.startswith("vmha.fencing.") for name in ours)
    # What would drag an event loop, a codec or the model in stays out as well.
    assert not {"asyncio", "vmha.fencing.port", "vmha.fencing.guard_client", "vmha.fencing.fence_agent"} & set(loaded)


def test_settings_come_from_the_file_and_flags_override_them(tmp_path: Path) -> None:
    config = tmp_path / "vmha.toml"
    config.write_text('cluster = "c1"\nnode = "n1"\nwatchdog = "/dev/watchdog"\n[store]\nendpoints = ["a"]\n')
    settings = read_settings(["--config", str(config), "--run-dir", "/tmp/x", "--watchdog", ""])
    assert (settings.cluster, settings.node, settings.watchdog) == ("c1", "n1", "")
    assert settings.run_dir == Path("/tmp/x")
    assert settings.libvirt_run_dir == "/run/libvirt/qemu"


def test_guard_and_agent_take_the_same_cluster_and_node_where_their_file_names_none(tmp_path: Path) -> None:
    config = tmp_path / "vmha.toml"
    config.write_text('endpoints = ["127.0.0.1:2379"]\n')
    guards, agents = read_settings(["--config", str(config)]), NodeSettings(endpoints=("127.0.0.1:2379",))
    assert (guards.cluster, guards.node) == (agents.cluster, agents.node)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cluster = ", "Invalid value"),
        ('cluster = 3\nnode = "n"', "cluster is 3, not a text"),
        ('cluster = ""\nnode = "n"', "cluster is empty"),
        (None, "no such file"),
    ],
)
def test_settings_that_are_none_end_the_start_with_one_clear_line(tmp_path: Path, text: str | None, says: str) -> None:
    config = tmp_path / "vmha.toml"
    if text is not None:
        config.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_settings(["--config", str(config)])
    assert says in str(caught.value)
    assert str(config) in str(caught.value)


@pytest.mark.parametrize(
    ("state", "armed", "checks", "level"),
    [
        ("idle", False, {"kill": "ok"}, "none"),
        ("armed", False, {"kill": "ok"}, "guard"),
        ("armed", True, {"kill": "ok"}, "watchdog"),
        ("armed", True, {"kill": "ok", "libvirt_run_dir": "No such file or directory"}, "none"),
        ("expired_clean", True, {"kill": "ok"}, "watchdog"),
    ],
)
def test_the_level_is_what_can_be_promised(state: str, armed: bool, checks: dict[str, str], level: str) -> None:
    assert level_of({"state": state, "watchdog": {"armed": armed}}, checks) == level
