"""What is taken out of lines of a log: secrets by their values, wherever they stand, and what names call a secret."""

import json
from pathlib import Path

import pytest

from vmha.operator.redaction import REDACTED, Redactor, secrets_in_files, secrets_of

SECRET = 'pä"ss w0rd'


@pytest.mark.parametrize(
    "line",
    [
        f"fence_ipmilan: -p {SECRET} refused",
        json.dumps({"event": "not fenced", "why": f"ipmitool -P {SECRET}"}),
        json.dumps({"event": "not fenced", "why": json.dumps({"how": SECRET})}),
        f"x{SECRET}x",
    ],
)
def test_known_secret_is_found_whatever_stands_around_it(line: str) -> None:
    said = Redactor([SECRET]).clean(line)
    assert "w0rd" not in said
    assert REDACTED in said


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("password=hunter2 user=root", "user=root"),
        ("--snmp-community: hunter2, next", "next"),
        ("{'passwd': 'hunter2', 'ip': '10.0.0.1'}", "10.0.0.1"),
        ('{"api_key": "hunter2", "n": 1}', '"n": 1'),
        ('why="passwd=\\"hunter2\\" refused" n=1', "refused"),
        ("<graphics type='vnc' passwd='hunter2'/>", "type='vnc'"),
        ("Authorization: Basic hunter2 sent", "sent"),
        ("http://root:hunter2@10.0.0.9/redfish", "@10.0.0.9/redfish"),
    ],
)
def test_what_a_name_calls_secret_goes_and_the_rest_stays(line: str, kept: str) -> None:
    said = Redactor([]).clean(line)
    assert "hunter2" not in said
    assert kept in said
    assert REDACTED in said


def test_where_a_secret_lies_is_no_secret_and_a_short_one_takes_no_letters_out_of_words() -> None:
    said = Redactor(["ab"]).clean("peers_secret_file=/etc/vmha/peers.secret table ab cab")
    assert said == f"peers_secret_file=/etc/vmha/peers.secret table {REDACTED} cab"


def test_secrets_are_learned_from_records_and_from_the_files_that_settings_name(tmp_path: Path) -> None:
    record = {
        "fence": [{"agent": "fence_x", "options": {"ip": "10.0.0.1", "passwd": "one", "passwd_script": "/x"}}],
        "xml": "<graphics passwd='two'/><x password=\"three\"/>",
    }
    assert set(secrets_of(record)) == {"one", "two", "three"}
    (tmp_path / "peers").write_text("four\n")
    assert list(secrets_in_files({"peers_secret_file": str(tmp_path / "peers"), "node": "h1"})) == ["four"]
    assert list(secrets_in_files({"etcd_password_file": str(tmp_path / "gone")})) == []
