"""What comes of a plan that makes room: its migrations, and where everybody is when nothing is planned any more."""

from tests.support.clusters import Book
from vmha.model.records import Phase
from vmha.policy.state import transitions
from vmha.policy.state.steps import Change, PlacementStep


def moves(book: Book) -> dict[str, str | None]:
    """Migrations of the next plan, and where to."""
    return {
        step.vm: step.placement.target
        for step in book.plan().steps
        if isinstance(step, PlacementStep) and step.change is Change.MIGRATE and step.placement
    }


def let_it_arrive(book: Book, vm: str) -> None:
    """Its source hands it over, its target claims it and shows it running."""
    held = book.claim(vm)
    assert held.phase is Phase.MIGRATING
    assert held.node
    assert held.target
    session = book.snapshot().nodes[held.target].session_id
    assert session
    book.delete(f"/vmha/t/nodes/{held.node}/vms/{vm}")
    arrived = transitions.hand_over(held, book.clock.wall())
    book.put_placement(transitions.claim(arrived, session, book.clock.wall())).seen(held.target, vm)


def let_it_start(book: Book, vm: str) -> None:
    held = book.claim(vm)
    assert held.phase is Phase.ASSIGNED
    assert held.node
    session = book.snapshot().nodes[held.node].session_id
    assert session
    book.put_placement(transitions.claim(held, session, book.clock.wall())).seen(held.node, vm)


def lead_step_by_step(book: Book, steps: int = 12) -> None:
    """Each leader falls after one step of its plan; what is under way by migration arrives."""
    for _ in range(steps):
        decided_on = book.snapshot()
        for step in book.plan().steps[:1]:
            book.apply(step, decided_on)
        book.elect()
        for name, view in book.snapshot().vms.items():
            if view.placement and view.placement.value.phase is Phase.MIGRATING:
                let_it_arrive(book, name)


def settle(book: Book, rounds: int = 12) -> dict[str, str | None]:
    """Everything planned comes about, until nothing is planned any more: who is where."""
    for _ in range(rounds):
        book.lead()
        under_way = {name: view.placement.value.phase for name, view in book.snapshot().vms.items() if view.placement}
        for name, phase in under_way.items():
            if phase is Phase.MIGRATING:
                let_it_arrive(book, name)
            elif phase is Phase.ASSIGNED:
                let_it_start(book, name)
        if not {Phase.MIGRATING, Phase.ASSIGNED} & set(under_way.values()):
            return {name: view.placement.value.node for name, view in book.snapshot().vms.items() if view.placement}
    raise AssertionError("it does not come to rest")
