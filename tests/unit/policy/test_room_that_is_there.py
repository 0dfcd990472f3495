"""Of any cluster after an outage: nobody waits for room while there is room for it.

Nodes are back, or stay away; of the vms some run, some were lost with their sessions, some wait. Plans follow plans,
each start is claimed at once, until nothing is proposed any more.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clusters import KEYS, SETTINGS, Book, cluster
from vmha.model.ids import NodeName, SessionId, VmName
from vmha.model.records import Phase, RunEnd
from vmha.model.settings import Limits, MakeRoom
from vmha.policy.plan import plan
from vmha.policy.state import transitions

CAPACITY_MIB = 1000
NODES = ("n1", "n2", "n3")
GONE = "x1"
ROUNDS_AT_MOST = 60
RESTS_END_S = 4000.0


def after_an_outage(draw: st.DrawFn) -> Book:
    nodes = NODES[: draw(st.integers(1, 3))]
    book = cluster(*nodes, memory_mib=CAPACITY_MIB).offline(GONE)
    limits = Limits(starts_per_node=draw(st.sampled_from([1, 2, 16])), starts=draw(st.sampled_from([0, 0, 1])))
    given_by = {"limits": limits, "make_room": draw(st.sampled_from(list(MakeRoom))), "preempt": draw(st.booleans())}
    book.configure(SETTINGS.model_copy(update=given_by))
    names = [f"v{number}" for number in range(draw(st.integers(2, 8)))]
    apart = names[: draw(st.sampled_from([0, 0, 2, 3]))]
    if len(apart) > 1:
        book.rule("apart", apart=tuple(apart), hard=True)
    there: dict[str, list[str]] = {node: [] for node in nodes}
    for name in names:
        size = draw(st.sampled_from([200, 300, 400, 500, 700]))
        fields = {"memory_mib": size, "priority": draw(st.sampled_from([100, 100, 200]))}
        able = [node for node in nodes if _fits(book, name, size, there[node])]
        node = draw(st.sampled_from([GONE, "", *able, *able, *able]))
        book.vm(name, **fields)
        if node in there:
            there[node].append(name)
            before = draw(st.booleans())
            book.placed(name, node, **({"session": SessionId("s-before")} if before else {}))  # type: ignore[arg-type]
            if not before:
                book.seen(node, name)
        elif node == GONE:
            book.placed(name, GONE)
        else:
            book.ended(name, nodes[0], RunEnd.ASKED)
    return book.fenced("s-before", "n1").fenced(f"s-{GONE}", GONE)


def _fits(book: Book, name: str, size: int, here: list[str]) -> bool:
    apart = book.snapshot().rules["apart"].apart if book.snapshot().rules else ()
    is_apart = name in apart and any(other in apart for other in here)
    return not is_apart and sum(book.spec(other).memory_mib for other in here) + size <= CAPACITY_MIB


def come_to_rest(book: Book) -> None:
    quiet = 0
    for _ in range(ROUNDS_AT_MOST):
        decided_on = book.snapshot()
        begun = book.carry_out(plan(decided_on, book.moment()), decided_on) + agents_act(book)
        quiet = 0 if begun else quiet + 1
        book.clock.at += RESTS_END_S if quiet else 1.0
        if quiet > 2:
            return
    raise AssertionError("plans follow plans without end")


def agents_act(book: Book) -> int:
    begun = 0
    for name, vm in book.snapshot().vms.items():
        held, wall = vm.placement.value if vm.placement else None, book.clock.wall()
        if held is None or held.node is None or (held.session is not None and held.session != f"s-{held.node}"):
            continue
        match held.phase:
            case Phase.ASSIGNED:
                new = transitions.claim(held, SessionId(f"s-{held.node}"), wall)
            case Phase.MIGRATING:
                new = transitions.claim(transitions.hand_over(held, wall), SessionId(f"s-{held.target}"), wall)
            case Phase.STOPPING:
                new = transitions.release(held, RunEnd.ASKED, "as asked", wall)
            case _:
                continue
        if held.phase is not Phase.ASSIGNED:
            book.delete(KEYS.observation(held.node, name))
        book.put_placement(new)
        if new.node is not None:
            book.seen(new.node, name, epoch=new.epoch)
        begun += 1
    return begun


def waiting_beside_room(book: Book) -> list[str]:
    nodes: dict[NodeName, list[str]] = {n: [] for n, view in book.snapshot().nodes.items() if view.beat is not None}
    waiting: list[VmName] = []
    for name, vm in book.snapshot().vms.items():
        held = vm.placement.value if vm.placement else None
        if held and held.phase is Phase.HELD and held.node in nodes and held.session == f"s-{held.node}":
            nodes[held.node].append(name)
        else:
            waiting.append(name)
    return [
        f"{name} waits, {node} has room: {book.claim(name).reason.text}"
        for name in waiting
        for node, here in nodes.items()
        if _fits(book, name, book.spec(name).memory_mib, here)
    ]


@settings(max_examples=60)
@given(st.data())
def test_nobody_waits_for_room_that_is_there(data: st.DataObject) -> None:
    book = after_an_outage(data.draw)
    come_to_rest(book)
    assert waiting_beside_room(book) == []
