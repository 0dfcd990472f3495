"""A fence agent's password, when a node is lost and the agent fails and repeats all it is told: where it is found.

It is in the node's definition in etcd, which operators write (docs/howto/tls.md), and on the program's standard input.
"""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.etcd import RealEtcd
from tests.support.members import CONFIG, real_cluster
from tests.support.until import until
from vmha.cli.exits import ExitCode
from vmha.cli.main import run
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import encode
from vmha.model.settings import FenceSecrets, Fencing
from vmha.node.power import FenceAgents
from vmha.sim.quiet import silence_logs
from vmha.store.port import Put

pytestmark = pytest.mark.real

FIRST, SECOND, THIRD = "Marker-7f3a-one", "Marker-7f3a-two", "70030077"
MARKS = ("Marker-7f3a", THIRD)
BABBLER = """\
#!/bin/sh
# Fails, and says aloud what it was told, as programs do.
told=$(cat)
echo "$told" >>{place}/input
{{ tr '\\0' ' ' </proc/$$/cmdline; env; }} >>{place}/surroundings
echo can not log in with: $told
echo can not log in with: $told >&2
case "$told" in
*action=off*) touch {place}/tried; exit 1 ;;
*action=status*) exit 1 ;;
esac
"""
DOCUMENT = """\
nodes:
  - name: n2
    fence:
      - agent: {agent}
        retries: 0
        options: {{username: admin, password: {password}}}
"""
VERBS = [
    "status",
    "status --json",
    "node list --json",
    "node show n2",
    "node show n2 --json",
    "node why n2",
    "node why n2 --json",
    "vm why db",
    "vm why db --json",
    "events",
    "events --json",
    "requests --json",
    "config show --json",
    "doctor --timeout 2",
    "doctor --timeout 2 --fence --json",
    "dump",
    "plan",
    "plan --json",
    "verify",
]


@pytest.fixture
def etcd() -> Iterator[RealEtcd]:
    with RealEtcd() as running:
        yield running


async def vmha(words: str) -> int:
    return await asyncio.to_thread(run, words.split())


async def test_a_fence_password_is_in_no_log_journal_answer_argument_or_other_key(
    etcd: RealEtcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VMHA_ENDPOINTS", etcd.endpoints[0])
    monkeypatch.setenv("VMHA_CLUSTER", "t")
    agent, document = tmp_path / "fence_babbler", tmp_path / "nodes.yaml"
    agent.write_text(BABBLER.format(place=tmp_path))
    agent.chmod(0o755)
    try:
        async with real_cluster(etcd, power=FenceAgents()) as cluster:
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
            document.write_text(DOCUMENT.format(agent=agent, password=FIRST))
            assert await vmha(f"apply {document}") == ExitCode.BAD_INPUT, "refused, unless it is asked for"
            stored = CONFIG.model_copy(update={"fencing": Fencing(secrets=FenceSecrets.STORED)})
            await cluster.store.txn([], [Put(cluster.keys.config, encode(stored))])
            for password in (FIRST, SECOND):
                document.write_text(DOCUMENT.format(agent=agent, password=password))
                assert await vmha(f"apply {document}") == 0
            document.write_text(DOCUMENT.format(agent=agent, password=THIRD))
            assert await vmha(f"apply {document}") == ExitCode.BAD_INPUT, "a number is no text, and is not repeated"
            await cluster.add_running("db", "n2")
            await cluster.nodes["n2"].stop_agent()
            await until((tmp_path / "tried").exists, what="its power is to be cut", timeout_s=60.0)
            await until(lambda: cluster.where("db") not in ([], ["n2"]), what="db is recovered", timeout_s=60.0)
            for verb in VERBS:
                await vmha(verb)
            spec = cluster.keys.node_spec(NodeName("n2"))
            keys = {kv.key: kv.value.decode() for kv in (await cluster.store.list(cluster.keys.prefix)).items}
            assert cluster.keys.placement(VmName("db")) in keys
    finally:
        silence_logs()
    said = capfd.readouterr()
    assert SECOND in keys.pop(spec), "where it belongs"
    assert f"password={SECOND}" in (tmp_path / "input").read_text(), "by standard input"
    assert "can not log in with" in said.out + "".join(keys.values()), "what the program said is told"
    assert '"fence-login"' in said.out, "by the doctor, too, who has asked it"
    places = {**keys, "output": said.out, "errors": said.err, "argv": (tmp_path / "surroundings").read_text()}
    assert [f"{mark} in {place}" for place, text in places.items() for mark in MARKS if mark in text] == []
