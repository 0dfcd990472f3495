"""Passwords that stand in a definition: found where they are, and never said."""

import pytest

from vmha.model.domain_secrets import find_passwords, say_readable


def domain(devices: str) -> str:
    return f"<domain><name>web</name><devices>{devices}</devices></domain>"


@pytest.mark.parametrize(
    ("devices", "found"),
    [
        ("<graphics type='vnc' passwd='hunter2'/>", {"passwd of <graphics type='vnc'>": "hunter2"}),
        ('<graphics type="spice" passwd = "a&amp;b"/>', {"passwd of <graphics type='spice'>": "a&b"}),
        ("<graphics type='vnc' passwd=''/>", {}),
        ("<graphics type='vnc' passwdValidTo='2010-04-09T15:51:00'/>", {}),
        ("<!-- <graphics type='vnc' passwd='hunter2'/> -->", {}),
        ("<disk><auth username='u'><secret type='iscsi' usage='x'/></auth></disk>", {}),
    ],
)
def test_password_of_a_screen_is_found(devices: str, found: dict[str, str]) -> None:
    assert find_passwords(domain(devices)) == found


def test_definition_that_is_none_has_none() -> None:
    assert find_passwords("<domain passwd='x'") == {}


def test_both_screens_are_named_and_their_passwords_are_not() -> None:
    both = find_passwords(domain("<graphics type='vnc' passwd='hunter2'/><graphics type='spice' passwd='sesame'/>"))
    said = say_readable("web", list(both))
    assert said == (
        "web: passwd of <graphics type='vnc'>, passwd of <graphics type='spice'> can be read by everybody who reads "
        "the cluster"
    )
