"""Records that are made fast are the records that they were."""

import pickle
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Generic, TypeVar

import pytest

from vmha.sim.quick import is_frozen_record, make_fast, replace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    first: T
    second: str = "two"
    rest: list[int] = field(default_factory=list, kw_only=True)


@dataclass(frozen=True, slots=True)
class Fast(Generic[T]):
    first: T
    second: str = "two"
    rest: list[int] = field(default_factory=list, kw_only=True)


make_fast(Fast)


def test_fast_record_takes_what_it_took_and_says_what_it_said() -> None:
    for arguments, named in (((1,), {}), ((1, "x"), {}), ((1,), {"second": "y", "rest": [3]})):
        made, fast = Made(*arguments, **named), Fast(*arguments, **named)  # type: ignore[arg-type]
        assert repr(fast) == repr(made).replace("Made", "Fast")
        assert type(fast) is Fast
    assert Fast(1) == Fast(1)
    assert Fast(1) != Fast(2)
    assert Fast(1).rest is not Fast(1).rest
    assert pickle.loads(pickle.dumps(Fast(1))) == Fast(1)


def test_fast_record_is_as_frozen_and_as_strict() -> None:
    fast = Fast(1)
    with pytest.raises(FrozenInstanceError):
        fast.first = 2  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        fast.another = 2  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        Fast()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Fast(1, "x", [3])  # type: ignore[call-arg]


def test_fast_record_that_differs_in_a_field_is_another_one_as_frozen() -> None:
    one = Fast(1, rest=[3])
    other = replace(one, second="z")
    assert (one, other) == (Fast(1, "two", rest=[3]), Fast(1, "z", rest=[3]))
    assert type(other) is Fast
    assert other.rest is one.rest
    with pytest.raises(FrozenInstanceError):
        other.first = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        replace(one, third="z")
    assert replace(Made(1), second="z") == Made(1, "z")


def test_what_does_more_than_to_set_its_fields_is_left_alone() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        value: int

        def __post_init__(self) -> None:
            assert self.value

    @dataclass(frozen=True, slots=True)
    class Kept:
        value: int

    class Heir(Kept):
        pass

    @dataclass(slots=True)
    class Open:
        value: int

    assert not any(map(is_frozen_record, (Checked, Kept, Open, int)))
    assert is_frozen_record(Made)
    assert type(Heir(1)) is Heir
