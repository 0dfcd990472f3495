"""The loss of each node as an operator asks for it: the short way of a large cluster comes to the same as forecasts."""

import hypothesis.strategies as st
from hypothesis import given, settings

from tests.unit.policy.test_survival import at_rest, by_forecast, cluster, drawn, quick
from vmha.model.vm import Desired
from vmha.policy.telling.any_loss import FORECASTS_AT_MOST, of_each
from vmha.policy.telling.forecast import foresee


@given(data=st.data())
@settings(quick, max_examples=30)
def test_the_short_way_names_the_same_vms_as_a_forecast_of_each(data: st.DataObject) -> None:
    book = drawn(data)
    snapshot = at_rest(book)
    settled = foresee(snapshot, book.moment())
    for small in (0, 1 << 40):
        found = of_each(settled, book.moment(), small=small)
        assert all(loss.is_known and loss.is_certain for loss in found.values())
        down = {str(node): [one.vm for one in loss.down] for node, loss in found.items() if loss.down}
        assert {node: sorted(vms) for node, vms in down.items()} == {
            node: sorted(vms) for node, vms in by_forecast(book, snapshot).items()
        }


def test_what_room_alone_shows_needs_no_forecast() -> None:
    book = cluster("n1", "n2", "n3", memory_mib=1000)
    book.running("web", "n1", memory_mib=100).running("db", "n2", memory_mib=100)
    found = of_each(foresee(book.snapshot(), book.moment()), book.moment(), small=0)
    assert [loss.forecast for loss in found.values()] == [None, None, None]
    assert not any(loss.down for loss in found.values())


def test_where_too_much_waits_for_a_place_nothing_is_known_of_any_node() -> None:
    book = cluster("n1", "n2", memory_mib=1000)
    for number in range(201):
        book.vm(f"v{number:03d}", memory_mib=5000, desired=Desired.RUNNING)
    found = of_each(foresee(book.snapshot(), book.moment()), book.moment(), small=0)
    assert not any(loss.is_known for loss in found.values())
    assert len(found) < FORECASTS_AT_MOST
