"""What the API tells of the cluster: one function an address, from the scene that all browsers see."""

from dataclasses import asdict
from typing import Any

from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.operator import forecast, node_why, story, why
from vmha.operator.errors import unknown_name
from vmha.operator.nodes import find_node
from vmha.operator.overview import as_plain, plain_vm
from vmha.policy.telling.explain import VmSummary
from vmha.policy.telling.story import tell
from vmha.web.api_asked import number_of
from vmha.web.feed import JOURNAL_KEPT, Scene
from vmha.web.problems import of_fields, wrong
from vmha.web.verbs import DEEDS, offered_for_cluster, offered_for_node, offered_for_vm
from vmha.web.what_if import supposed_of

Query = dict[str, list[str]]


def status(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    return {"at": scene.wall, **as_plain(scene.shown), "verbs": offered_for_cluster(scene.snapshot)}


def nodes(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    return {**_of(scene), "nodes": [asdict(node) for node in scene.shown.nodes]}


def node(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    view = find_node(scene.snapshot, name)
    line = next(one for one in scene.shown.nodes if one.name == view.name)
    return {**asdict(line), "verbs": offered_for_node(scene.snapshot, name)}


def node_told(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    told = node_why.why_node(scene.snapshot, name, wall=scene.wall)
    return {**node_why.as_plain(told), "sentences": node_why.sentences(told, wall=scene.wall)}


def vms(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    states, places = query.get("state", []), query.get("node", [])
    found = [vm for vm in scene.shown.vms if _is_among(vm, states, places)]
    return {**_of(scene), "vms": [plain_vm(vm) for vm in found]}


def vm(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    found = next((one for one in scene.shown.vms if one.name == name), None)
    if found is None:
        raise unknown_name("vm", name, (one.name for one in scene.shown.vms))
    return {**plain_vm(found), "verbs": offered_for_vm(scene.snapshot, name)}


def vm_told(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    told = why.why(scene.snapshot, name, wall=scene.wall)
    return {**why.as_plain(told), "sentences": why.sentences(told)}


def vm_story(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    """Of a vm that has been removed as well, as far as the journal reaches."""
    if VmName(name) not in scene.snapshot.vms and not any(entry.vm == name for entry in scene.journal):
        raise unknown_name("vm", name, scene.snapshot.vms)
    return {**_of(scene), "chapters": story.as_plain(tell(reversed(scene.journal), VmName(name)))}


def journal(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    """The newest first, of the newest ``JOURNAL_KEPT``."""
    most = number_of(query, "limit", default=100, most=JOURNAL_KEPT)
    vms, places = query.get("vm", []), query.get("node", [])
    found = [
        entry
        for entry in scene.journal
        if (not vms or entry.vm in vms) and (not places or entry.node in places or entry.by in places)
    ]
    return {**_of(scene), "entries": [asdict(entry) for entry in found[:most]]}


def plan(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    supposed = query.get("if", [])
    if not all(one.strip() for one in supposed):
        raise of_fields([wrong("if", "", forecast.ACCEPTED)])
    try:
        told = forecast.tell(scene.snapshot, supposed_of(supposed), wall=scene.wall)
    except Rejected as error:
        accepted = error.accepted or str(error)
        raise of_fields([wrong("if", "; ".join(supposed), accepted)]) from error
    well = forecast.is_all_well(told)
    return {**_of(scene), "well": well, **forecast.as_plain(told), "sentences": forecast.sentences(told)}


def requests(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    found = []
    for id, request in sorted(scene.snapshot.requests.items()):
        outcome = scene.snapshot.outcomes.get(id)
        found.append({**asdict(request), "outcome": asdict(outcome) if outcome else None})
    return {**_of(scene), "requests": found}


def verbs(scene: Scene, name: str, query: Query) -> dict[str, Any]:
    return {
        "verbs": [
            {"verb": verb, "about": doing.about, "takes": list(doing.takes), "what": doing.what, "risk": doing.risk}
            for verb, doing in DEEDS.items()
        ]
    }


def _of(scene: Scene) -> dict[str, Any]:
    """Which reading it is of."""
    return {"at": scene.wall, "revision": scene.shown.revision}


def _is_among(vm: VmSummary, states: list[str], places: list[str]) -> bool:
    return (not states or vm.state in states) and (not places or vm.node in places or vm.target in places)
