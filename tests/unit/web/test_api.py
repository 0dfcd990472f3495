"""The cluster for programs: what is read, what may be done by whom, and how what is wrong is told."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.unit.operator.cluster import Cluster
from tests.unit.web.conftest import add, with_web
from tests.unit.web.operators import operator, users_in
from tests.unit.web.programs import V1, do, plan_of, problem_of, program, token_in
from vmha.model.holds import PauseMode
from vmha.model.ids import VmName
from vmha.model.records import Verb
from vmha.model.vm import Desired
from vmha.operator.holds import freeze
from vmha.operator.overview import as_plain, overview
from vmha.store.memory_store import MemoryStore
from vmha.web.access import Role
from vmha.web.api_operations import READINGS
from vmha.web.openapi import description
from vmha.web.verbs import DEEDS

ON = {"vm": "web", "node": "h2"}


@pytest.fixture
async def cluster() -> Cluster:
    return await with_web()


def needed(verb: str) -> dict[str, Any]:
    """What a verb can not be without."""
    on = ON.get(DEEDS[verb].about)
    return {**({"on": on} if on else {}), **({"reason": "x"} if verb == "pause" else {})}


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_status_is_what_the_command_line_prints(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, None) as client:
        said = (await client.get(f"{V1}/status")).json()
    wall = said.pop("at")
    assert said.pop("verbs") == ["pause"]
    shown = overview(await cluster.client.read(), cluster="test", wall=wall, asks_survival=cluster.client.clock)
    assert said == json.loads(json.dumps({**as_plain(shown), "revision": said["revision"]}))


async def test_every_reading_answers_and_the_names_lead_from_one_to_the_other(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, None) as client:

        async def get(where: str, **asked: Any) -> Any:
            answer = await client.get(f"{V1}{where}", params=asked)
            assert answer.status_code == 200, answer.text
            return answer.json()

        assert [node["name"] for node in (await get("/nodes"))["nodes"]] == ["h1", "h2"]
        assert (await get("/nodes/h1"))["verbs"] == ["drain"]
        assert "h1 is online" in (await get("/nodes/h1/why"))["sentences"][0]
        assert [vm["name"] for vm in (await get("/vms", node="h1", state="running"))["vms"]] == ["web"]
        assert (await get("/vms", node="h2"))["vms"] == []
        assert (await get("/vms/web"))["verbs"] == ["migrate", "restart", "stop", "disable", "freeze"]
        told = await get("/vms/web/why")
        assert told["candidates_now"][0]["node"] == "h1"
        assert "web is running on h1" in told["sentences"][0]
        chapters = (await get("/vms/web/story"))["chapters"]
        assert chapters[0]["lines"][0]["text"] == "web was started"
        (newest,) = (await get("/journal", vm="web", limit=1))["entries"]
        assert (newest["text"], newest["hand"]["author"]) == ("wanted running: started by operator", "operator")
        assert (await get("/journal", node="h2"))["entries"] == []
        assert (await get("/plan"))["moves"] == []
        lost = await get("/plan", **{"if": ["node h1 lost", "any node lost"]})
        assert [(one["vm"], one["to"]) for one in lost["moves"]] == [("web", "h2")]
        assert not lost["well"], "then the other one must not be lost, too"
        assert (await get("/requests"))["requests"] == []
        assert {one["verb"] for one in (await get("/verbs"))["verbs"]} == set(DEEDS)


async def test_description_names_every_address_and_every_answer_has_a_shape(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, None) as client:
        said = (await client.get(f"{V1}/openapi.json")).json()
    assert said == description()
    verbs = {f"{V1}/verbs/{{verb}}", f"{V1}/verbs/{{verb}}/plan"}
    assert set(said["paths"]) == {f"{V1}{one.where}" for one in READINGS} | verbs
    assert '"default": "starts"' not in str(said)


@pytest.mark.parametrize(
    ("where", "field", "value", "accepted"),
    [
        ("/vms/wbe", "name", "wbe", "web"),
        ("/vms/wbe/why", "name", "wbe", "web"),
        ("/vms/wbe/story", "name", "wbe", "web"),
        ("/nodes/h9", "name", "h9", "h1, h2"),
        ("/journal?limit=0", "limit", "0", "1 to 400"),
        ("/journal?limit=ten", "limit", "ten", "1 to 400"),
        ("/journal?limt=1", "limt", "1", "one of limit, vm, node"),
        ("/status?x=1", "x", "1", "nothing is asked with here"),
        ("/journal?vm=a&vm=b", "vm", "2 times", "once"),
        ("/vms?state=happy", "state", "happy", "running"),
        ("/plan?if=node+h1+gone", "if", "node h1 gone", "'node NAME lost'"),
        ("/plan?if=node+h7+lost", "if", "node h7 lost", "h1"),
    ],
)
async def test_what_is_wrong_is_told_with_its_field_its_value_and_what_would_do(
    cluster: Cluster, tmp_path: Path, where: str, field: str, value: str, accepted: str
) -> None:
    async with program(cluster, tmp_path, None) as client:
        said = problem_of(await client.get(f"{V1}{where}"))
    assert said["status"] in (400, 404)
    (one,) = said["errors"]
    assert (one["field"], one["value"]) == (field, value)
    assert accepted in one["accepted"]


@pytest.mark.parametrize(
    ("method", "where", "status"),
    [
        ("GET", "/api/v1", 404),
        ("GET", "/api/v2/status", 404),
        ("GET", "/api/v1/vms/web/nothing", 404),
        ("POST", "/api/v1/status", 405),
        ("GET", "/api/v1/verbs/stop", 405),
        ("DELETE", "/api/v1/vms/web", 405),
        ("GET", f"/api/v1/vms/{'x' * 2000}", 414),
    ],
)
async def test_what_is_not_there_is_a_problem_document_too(
    cluster: Cluster, tmp_path: Path, method: str, where: str, status: int
) -> None:
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        assert problem_of(await client.request(method, where))["status"] == status
        assert problem_of(await client.get("/api/v1/status", headers={"host": "evil.example"}))["status"] == 421


async def test_silent_store_is_told_and_what_is_old_is_not_given_for_new(cluster: Cluster, tmp_path: Path) -> None:
    cluster.client.store = MemoryStore(cluster.etcd, "dashboard")
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        assert (await client.get(f"{V1}/status")).status_code == 200
        cluster.etcd.cut("dashboard")
        said = problem_of(await client.post(f"{V1}/verbs/stop/plan", json={"on": "web"}))
        assert said["status"] == 503


async def test_who_asks_the_same_gets_the_same_until_something_has_changed(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, None) as client:
        answers = await asyncio.gather(*(client.get(f"{V1}/vms") for _ in range(20)))
        assert len({answer.text for answer in answers}) == 1
        assert (await client.get(f"{V1}/vms", params={"node": "h2"})).json()["vms"] == []
        await add(cluster, "db", "h2")

        async def both() -> bool:
            return len((await client.get(f"{V1}/vms")).json()["vms"]) == 2

        await eventually(both)


# -- who may what -----------------------------------------------------------------------------------------------------


async def test_reader_reads_everything(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, Role.READER, public=False) as client:
        for one in READINGS:
            where = one.where.replace("{name}", "h1" if "nodes" in one.where else "web")
            assert (await client.get(f"{V1}{where}")).status_code == 200, where


@pytest.mark.parametrize("verb", DEEDS)
@pytest.mark.parametrize("role", [Role.READER, None])
async def test_reader_and_stranger_may_neither_plan_a_verb_nor_do_it(
    cluster: Cluster, tmp_path: Path, verb: str, role: Role | None
) -> None:
    before = cluster.contents()
    async with program(cluster, tmp_path, role) as client:
        for where in (f"{V1}/verbs/{verb}/plan", f"{V1}/verbs/{verb}"):
            answer = await client.post(where, json={**needed(verb), "seen": "0" * 32})
            said = problem_of(answer)
            assert said["status"] == (403 if role else 401)
            assert role is not None or answer.headers["www-authenticate"].startswith("Bearer")
            assert not role or "ci is a reader" in said["detail"]
    assert cluster.contents() == before


async def test_where_reading_is_not_for_everybody_it_needs_a_token(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, None, public=False) as client:
        for one in READINGS:
            where = one.where.replace("{name}", "web")
            assert problem_of(await client.get(f"{V1}{where}"))["status"] == 401
        assert (await client.get(f"{V1}/openapi.json")).status_code == 200, "it says nothing of the cluster"


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer x", "Basic YWxpY2U6eA==", "Bearer vmha_" + "x" * 43])
async def test_token_that_is_none_is_refused_also_where_none_is_needed(
    cluster: Cluster, tmp_path: Path, said: str
) -> None:
    async with program(cluster, tmp_path, None) as client:
        answer = await client.get(f"{V1}/status", headers={"authorization": said})
        assert problem_of(answer)["status"] == 401
        assert "invalid_token" in answer.headers["www-authenticate"]


async def test_expired_and_revoked_tokens_are_refused(cluster: Cluster, tmp_path: Path) -> None:
    from vmha.web.tokens import Tokens

    old = token_in(tmp_path, Role.OPERATOR, "old", wall=1000.0)
    new = token_in(tmp_path, Role.OPERATOR, "new")
    async with program(cluster, tmp_path, None) as client:

        async def code(word: str) -> int:
            return (await client.get(f"{V1}/status", headers={"authorization": f"Bearer {word}"})).status_code

        assert (await code(old), await code(new)) == (401, 200)
        Tokens(tmp_path / "users.json").revoke("new")
        assert await code(new) == 401


async def test_no_token_is_taken_over_a_network_in_clear_text(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, Role.OPERATOR, listen="0.0.0.0:9780") as client:
        said = problem_of(await client.get(f"{V1}/status"))
        assert said["status"] == 403
        assert "clear text" in said["detail"]
        assert problem_of(await client.post(f"{V1}/verbs/stop/plan", json={"on": "web"}))["status"] == 403


async def test_session_of_a_browser_does_nothing_here(cluster: Cluster, tmp_path: Path) -> None:
    """So no page of somebody else's can use it."""
    before = cluster.contents()
    async with operator(cluster, users_in(tmp_path)) as browser:
        answer = await browser.post(f"{V1}/verbs/stop/plan", json={"on": "web"})
        assert problem_of(answer)["status"] == 401
    assert cluster.contents() == before


# -- doing something --------------------------------------------------------------------------------------------------


async def test_verb_is_planned_confirmed_and_on_record(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        before = cluster.contents()
        plan = await plan_of(client, "migrate", on="web", to="h2")
        assert plan["what"] == "Move web to h2 without stopping its guest."
        assert any("web would be migrated from h1 to h2" in one for one in plan["plan"])
        assert plan["well"]
        assert cluster.contents() == before, "a plan writes nothing"
        answer = await client.post(f"{V1}/verbs/migrate", json={"on": "web", "to": "h2", "seen": plan["seen"]})
        assert (answer.status_code, answer.json()["asked_by"]) == (202, "ci (token)")
        (request,) = (await cluster.client.read()).requests.values()
        assert (request.verb, request.vm, request.node, request.author) == (Verb.MIGRATE, "web", "h2", "ci (token)")
        assert (await client.get(answer.json()["follow"])).json()["name"] == "web"


@pytest.mark.parametrize("verb", DEEDS)
async def test_each_verb_can_be_planned_and_nothing_is_written(cluster: Cluster, tmp_path: Path, verb: str) -> None:
    before = cluster.contents()
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        plan = await plan_of(client, verb, **needed(verb))
        assert plan["plan"]
        without = await client.post(f"{V1}/verbs/{verb}", json=needed(verb))
        (field,) = problem_of(without)["errors"]
        assert (field["field"], field["value"]) == ("seen", None)
    assert cluster.contents() == before


async def test_verbs_do_what_the_pages_do(cluster: Cluster, tmp_path: Path) -> None:
    async def desired() -> tuple[Desired, str]:
        spec = (await cluster.client.read()).vms[VmName("web")].spec
        assert spec
        return spec.value.desired, spec.value.desired_why

    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        assert (await do(client, "stop", on="web")).status_code == 202
        assert await desired() == (Desired.STOPPED, "stopped by ci (token)")
        await do(client, "start", on="web")
        assert await desired() == (Desired.RUNNING, "started by ci (token)")
        await do(client, "pause", mode="all", reason="the  switch is\nreplaced")
        paused = (await cluster.client.read()).pause
        assert paused
        assert (paused.value.mode, paused.value.in_words) == (PauseMode.ALL, "ci (token): the switch is replaced")
        await do(client, "resume")
        assert (await cluster.client.read()).pause is None


async def test_plan_that_is_no_longer_the_one_that_was_seen_is_told_anew(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        seen = (await plan_of(client, "drain", on="h1"))["seen"]
        await add(cluster, "db", "h1")
        before = cluster.contents()
        said = problem_of(await client.post(f"{V1}/verbs/drain", json={"on": "h1", "seen": seen}))
        assert said["status"] == 409
        assert any("db would be migrated" in one for one in said["now"]["plan"])
        assert cluster.contents() == before
        again = await client.post(f"{V1}/verbs/drain", json={"on": "h1", "seen": said["now"]["seen"]})
        assert again.status_code == 202


async def test_what_can_not_leave_wants_a_second_yes(cluster: Cluster, tmp_path: Path) -> None:
    await freeze(cluster.client, "web", reason="by hand")
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        plan = await plan_of(client, "drain", on="h1")
        assert [one["vm"] for one in plan["left"]] == ["web"]
        asked = {"on": "h1", "seen": plan["seen"]}
        (field,) = problem_of(await client.post(f"{V1}/verbs/drain", json=asked))["errors"]
        assert (field["field"], field["value"]) == ("all_the_same", False)
        assert (await client.post(f"{V1}/verbs/drain", json={**asked, "all_the_same": True})).status_code == 202


@pytest.mark.parametrize(
    ("verb", "asked", "status", "field", "accepted"),
    [
        ("explode", {}, 404, "verb", "migrate, restart"),
        ("stop", {}, 400, "on", "the name of a vm"),
        ("stop", {"on": "wbe"}, 404, "on", "web"),
        ("stop", {"on": "web", "to": "h2"}, 400, "to", "not with stop, which takes: on, reason"),
        ("stop", {"on": 7}, 400, "on", "the name of a vm or a node"),
        ("stop", {"on": "x" * 300}, 400, "on", "at most 253"),
        ("stop", {"no": "web"}, 400, "no", "one of on, to, reason, mode"),
        ("migrate", {"on": "web", "to": "h7"}, 404, "to", "h1"),
        ("drain", {"on": "web"}, 404, "on", "h1"),
        ("pause", {"on": "web", "reason": "x"}, 400, "on", "the whole cluster"),
        ("pause", {"reason": " "}, 400, "reason", "why"),
        ("pause", {"mode": "some", "reason": "x"}, 400, "mode", "starts or all"),
        ("freeze", {"on": "web", "reason": "x" * 201}, 400, "reason", "at most 200"),
        ("stop", [], 400, "the body", "an object in JSON"),
    ],
    ids=str,
)
async def test_wrong_fields_are_told_and_nothing_is_planned(
    cluster: Cluster, tmp_path: Path, verb: str, asked: Any, status: int, field: str, accepted: str
) -> None:
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        said = problem_of(await client.post(f"{V1}/verbs/{verb}/plan", json=asked))
    assert said["status"] == status
    assert field in [one["field"] for one in said["errors"]]
    assert any(accepted in one["accepted"] for one in said["errors"])


async def test_form_is_not_taken_for_json(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        assert problem_of(await client.post(f"{V1}/verbs/stop/plan", data={"on": "web"}))["status"] == 415
        broken = await client.post(
            f"{V1}/verbs/stop/plan", content=b'{"on": "\xff', headers={"content-type": "application/json"}
        )
        assert problem_of(broken)["status"] == 400


async def test_what_the_cluster_refuses_is_told(cluster: Cluster, tmp_path: Path) -> None:
    async with program(cluster, tmp_path, Role.OPERATOR) as client:
        await do(client, "disable", on="web")
        said = problem_of(await client.post(f"{V1}/verbs/start/plan", json={"on": "web"}))
        assert (said["status"], said["accepted"]) == (409, "enable it")
