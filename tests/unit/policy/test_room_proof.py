"""What is certain by room alone holds against whoever places the others, and as badly as can be."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vmha.policy.room.proof import is_certain
from vmha.policy.state.reservation import NOTHING, Room, Size

sizes = st.builds(Size, st.integers(1, 6), st.integers(0, 3))
rooms = st.builds(Room, st.integers(0, 12), st.sampled_from([0, 4, 6]))


def test_as_much_room_as_all_need_is_certain_only_if_none_of_it_can_be_left_over_in_parts() -> None:
    one, two = Room(1000), Room(2000)
    assert is_certain(Size(400), Size(1600), [(two, NOTHING)])
    assert not is_certain(Size(400), Size(1601), [(two, NOTHING)])
    assert is_certain(Size(400), Size(1200), [(one, NOTHING), (one, NOTHING)])
    assert not is_certain(Size(400), Size(1202), [(one, NOTHING), (one, NOTHING)])
    assert not is_certain(Size(400), NOTHING, [(one, Size(601))])
    assert not is_certain(Size(400), NOTHING, [])


def test_what_is_not_limited_is_never_full() -> None:
    assert is_certain(Size(400, 2), Size(10**9, 10**9), [(Room(0), NOTHING)])
    assert not is_certain(Size(400, 2), Size(0, 3), [(Room(0, 4), NOTHING)])


@given(
    need=sizes,
    others=st.lists(sizes, max_size=5),
    nodes=st.lists(st.tuples(rooms, sizes), min_size=1, max_size=4),
    data=st.data(),
)
@settings(deadline=None, max_examples=200)
def test_no_order_and_no_choice_of_others_takes_the_last_place(
    need: Size, others: list[Size], nodes: list[tuple[Room, Size]], data: st.DataObject
) -> None:
    certain = is_certain(need, sum(others, NOTHING), nodes)
    taken = [used for _, used in nodes]
    for other in others:
        able = [at for at, (room, _) in enumerate(nodes) if not room.refusal(other, taken[at])]
        if able:
            at = data.draw(st.sampled_from(able))
            taken[at] += other
    assert not certain or any(not room.refusal(need, used) for (room, _), used in zip(nodes, taken, strict=True))
