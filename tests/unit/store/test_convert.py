"""Keys and prefixes between the port's text and etcd's bytes."""

from hypothesis import given
from hypothesis import strategies as st

from vmha.store.convert import decode_key, encode_key, prefix_end


@given(st.binary())
def test_every_key_of_etcd_survives_the_way_there_and_back(key: bytes) -> None:
    assert encode_key(decode_key(key)) == key


@given(st.binary(), st.binary())
def test_prefix_end_bounds_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    end = prefix_end(decode_key(prefix))
    in_range = prefix <= key and (end == b"\0" or key < end)
    assert in_range == key.startswith(prefix)


@given(st.binary(min_size=1), st.binary())
def test_longer_keys_with_the_prefix_are_inside(prefix: bytes, rest: bytes) -> None:
    end = prefix_end(decode_key(prefix))
    assert end == b"\0" or prefix + rest < end
