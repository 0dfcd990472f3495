"""RGManager's commands against simulated hosts under the real agents and leader: what they do, and what they answer."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.worlds import Cluster, in_cluster
from vmha.cli.clustat import look, render
from vmha.cli.clustat import parse as parse_clustat
from vmha.cli.clusvcadm import execute, parse
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember
from vmha.operator import vms


class Shell:
    """The two commands as a script on ``n1`` calls them."""

    def __init__(self, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
        self.cluster = cluster
        self._capsys = capsys
        self.err = ""

    async def clusvcadm(self, args: str) -> tuple[int, str]:
        self._capsys.readouterr()
        code = await execute(self.cluster.hands.operator, parse(args.split()))
        told = self._capsys.readouterr()
        self.err = told.err
        return code, told.out.rstrip("\n")

    async def clustat(self, vm: str) -> int:
        """The exit code of ``clustat -s``: 0 up, else the number of the state."""
        status = await look(self.cluster.hands.operator, "n1")
        return render(status, parse_clustat(["-s", vm]))[1]

    async def desired(self, vm: str) -> Desired:
        return vms.find_spec(await self.cluster.hands.operator.read(), vm).value.desired

    def memory(self, vm: str) -> object:
        """The same object as long as the guest has not been booted again."""
        guest = self.cluster.hands.find_guest(vm)
        assert guest is not None
        return guest.memory


def played(capsys: pytest.CaptureFixture[str], scene: Callable[[Shell], Awaitable[None]]) -> None:
    """In a cluster of three that has a vm ``web``, stopped, which prefers n1, then n2, then n3; none ran twice."""

    async def whole(cluster: Cluster) -> None:
        members = tuple(FailoverDomainMember(node=f"n{rank}", priority=rank) for rank in (1, 2, 3))
        await cluster.hands.add_domain(FailoverDomain(name="home", ordered=True, members=members))
        pair = FailoverDomain(name="pair", ordered=True, restricted=True, members=members[:2])
        await cluster.hands.add_domain(pair)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, failover_domain="home")
        await cluster.rest()
        await scene(Shell(cluster, capsys))
        assert cluster.violations() == []

    in_cluster(whole)


def test_a_vm_is_enabled_where_it_is_preferred_stopped_and_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        assert await shell.clustat("vm:web") == 110
        assert await shell.clusvcadm("-e vm:web") == (
            0,
            "Local machine trying to enable vm:web...Success\nvm:web is now running on n1",
        )
        assert await shell.clustat("vm:web") == 0
        code, out = await shell.clusvcadm("-e vm:web")
        assert (code, "Service is already running" in out) == (0, True)
        assert await shell.clusvcadm("-s vm:web") == (0, "Local machine stopping vm:web...Success")
        assert (shell.cluster.where("web"), await shell.clustat("vm:web")) == ([], 110)
        assert await shell.clusvcadm("-d vm:web") == (0, "Local machine disabling vm:web...Success")
        assert (await shell.clustat("vm:web"), await shell.desired("web")) == (119, Desired.DISABLED)
        assert (await shell.clusvcadm("-F -e web"))[0] == 0
        assert shell.cluster.where("web") == ["n1"]

    played(capsys, scene)


def test_a_vm_is_enabled_on_the_node_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        code, out = await shell.clusvcadm("-e vm:web -m n3")
        assert (code, shell.cluster.where("web")) == (0, ["n3"])
        assert out == "Member n3 trying to enable vm:web...Success\nvm:web is now running on n3"

    played(capsys, scene)


def test_a_vm_that_can_not_run_on_the_node_that_is_named_runs_elsewhere_with_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scene(shell: Shell) -> None:
        await vms.edit(shell.cluster.hands.operator, "web", failover_domain="pair")
        code, out = await shell.clusvcadm("-e vm:web -m n3")
        assert (code, shell.cluster.where("web")) == (0, ["n1"])
        assert out.endswith("Success\nWarning: vm:web is now running on n1")
        assert "n3" in shell.err

    played(capsys, scene)


def test_a_vm_that_no_node_can_take_is_a_failure_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        for node in ("n1", "n2"):
            await shell.cluster.hands.drain(node)
        await vms.edit(shell.cluster.hands.operator, "web", failover_domain="pair")
        await shell.cluster.rest()
        for _ in range(2):  # the second time nothing is new, and the answer is the same
            code, out = await shell.clusvcadm("-e vm:web")
            assert (code, out) == (255, "Local machine trying to enable vm:web...Failure")
            assert "it goes on waiting" in shell.err
        assert await shell.clustat("vm:web") == 110

    played(capsys, scene)


def test_a_vm_migrates_and_its_guest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        await shell.clusvcadm("-e vm:web")
        memory = shell.memory("web")
        code, out = await shell.clusvcadm("-M vm:web -m n2")
        assert (code, out) == (0, "Trying to migrate vm:web to n2...Success\nvm:web is now running on n2")
        assert shell.cluster.where("web") == ["n2"]
        assert shell.memory("web") is memory
        again, _ = await shell.clusvcadm("-M vm:web -m n2")
        assert again == 0

    played(capsys, scene)


def test_a_node_outside_a_restricted_domain_is_refused_and_the_vm_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        await vms.edit(shell.cluster.hands.operator, "web", failover_domain="pair")
        await shell.clusvcadm("-e vm:web")
        for args in ("-M vm:web -m n3", "-r vm:web -m n3"):
            code, out = await shell.clusvcadm(args)
            assert code == 249
            assert out.endswith("Operation violates dependency rule")
            assert shell.cluster.where("web") == ["n1"]

    played(capsys, scene)


def test_a_vm_is_relocated_by_stopping_and_starting_it(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        await shell.clusvcadm("-e vm:web")
        code, out = await shell.clusvcadm("-r vm:web")
        assert (code, out) == (0, "Trying to relocate vm:web...Success\nvm:web is now running on n2")
        code, out = await shell.clusvcadm("-r vm:web -m n3")
        assert (code, shell.cluster.where("web")) == (0, ["n3"])
        await shell.clusvcadm("-s vm:web")
        assert (await shell.clusvcadm("-r vm:web -m n2"))[0] == 0  # a stopped one is started, as ever
        assert shell.cluster.where("web") == ["n2"]

    played(capsys, scene)


def test_a_relocation_that_no_node_can_take_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        await shell.clusvcadm("-e vm:web")
        for node in ("n2", "n3"):
            await shell.cluster.hands.drain(node)
        await shell.cluster.rest()
        code, out = await shell.clusvcadm("-r vm:web")
        assert (code, out) == (239, "Trying to relocate vm:web...Failed; service running on original owner")
        assert "it was not stopped" in shell.err
        assert shell.cluster.where("web") == ["n1"]

    played(capsys, scene)


def test_a_vm_is_restarted_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        await shell.clusvcadm("-e vm:web")
        memory = shell.memory("web")
        assert await shell.clusvcadm("-R vm:web") == (0, "Local machine trying to restart vm:web...Success")
        assert shell.cluster.where("web") == ["n1"]
        assert shell.memory("web") is not memory

    played(capsys, scene)


def test_a_node_that_is_down_is_no_target_and_a_relocation_goes_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    async def scene(shell: Shell) -> None:
        await shell.clusvcadm("-e vm:web")
        shell.cluster.hands.host("n3").power_off()
        await shell.cluster.rest()
        assert await shell.clusvcadm("-M vm:web -m n3") == (1, "'n3' is offline")
        code, out = await shell.clusvcadm("-r vm:web -m n3")
        assert (code, out.splitlines()[1]) == (0, "Warning: vm:web is now running on n2")

    played(capsys, scene)


def test_a_vm_disabled_while_its_owner_is_down_stays_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    """RGManager made it "stopped", and started it again on the next node."""

    async def scene(shell: Shell) -> None:
        await shell.clusvcadm("-e vm:web")
        shell.cluster.hands.host("n1").power_off()
        code, out = await shell.clusvcadm("-d vm:web")
        assert (code, out) == (0, "Local machine disabling vm:web...Success")
        await shell.cluster.rest()
        assert (shell.cluster.where("web"), await shell.clustat("vm:web")) == ([], 119)

    played(capsys, scene)
