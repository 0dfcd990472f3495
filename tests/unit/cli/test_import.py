"""``vmha import`` as it is typed: where document and report go, exit codes, and who may read what was written."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from vmha.cli.exits import ExitCode
from vmha.cli.main import run
from vmha.operator.document import load_document

CONF = """<cluster name="c" config_version="7"><clusternodes><clusternode name="n1"/></clusternodes>
<rm><vm name="web" recovery="relocate"/></rm></cluster>"""
XML = "<domain type='kvm'><name>web</name><memory unit='MiB'>64</memory></domain>"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml/web.xml").write_text(XML)
    path = tmp_path / "cluster.conf"
    path.write_text(CONF)
    return path


def import_with_xml(conf: Path, *args: str) -> int:
    return run(["import", str(conf), "--xml-dir", str(conf.parent / "xml"), *args])


def test_the_document_goes_to_standard_output_and_the_report_to_standard_error(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_with_xml(conf) == ExitCode.DONE
    said = capsys.readouterr()
    (vm,) = load_document(said.out, file="out", base=conf.parent).document.vms or ()
    assert (vm.name, vm.xml) == ("web", XML)
    assert said.err.splitlines()[0].endswith("1 of 1 nodes, 0 of 0 failover domains, 1 of 1 vms taken")
    assert f'{conf}:2: rm/vm[web] recovery="relocate": recovery: relocate' in said.err


def test_a_document_with_a_file_of_its_own_is_its_owners_alone(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = conf.parent / "vmha.yaml"
    out.write_text("old")
    out.chmod(0o644)
    assert import_with_xml(conf, "--output", str(out), "--start") == ExitCode.DONE
    assert out.stat().st_mode & 0o777 == 0o600
    (vm,) = load_document(out.read_text(), file="out", base=conf.parent).document.vms or ()
    assert vm.desired == "running"
    assert "recovery: relocate" in capsys.readouterr().out


def test_findings_are_data(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_with_xml(conf, "--json") == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["cluster"], told["config_version"], told["complete"]) == ("c", "7", True)
    assert told["counts"]["vms"] == {"taken": 1, "found": 1, "left_out": []}
    (found,) = [finding for finding in told["findings"] if finding["attribute"] == "recovery"]
    assert (found["kind"], found["line"], found["element"], found["value"]) == ("changed", 2, "rm/vm[web]", "relocate")
    assert "vms:" in told["document"]


def test_something_left_out_is_an_exit_code_and_the_rest_is_written(
    conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = conf.parent / "vmha.yaml"
    assert run(["import", str(conf), "-o", str(out)]) == ExitCode.FAILED
    said = capsys.readouterr()
    assert "0 of 1 vms taken: not everything" in said.err
    assert "not taken of the vms: web" in said.out
    assert "n1" in out.read_text()


@pytest.mark.parametrize("data", [b"no xml", b"<domain/>", b"<!DOCTYPE a []><cluster/>"])
def test_a_file_that_is_none_is_bad_input_and_writes_nothing(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c").write_bytes(data)
    out = tmp_path / "vmha.yaml"
    assert run(["import", str(tmp_path / "c"), "-o", str(out)]) == ExitCode.BAD_INPUT
    assert f"{tmp_path / 'c'}:1: " in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_can_not_be_read_or_written_is_named(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", str(conf.parent / "none")]) == ExitCode.BAD_INPUT
    assert import_with_xml(conf, "-o", str(conf.parent / "no/such/dir")) == ExitCode.BAD_INPUT
    assert str(conf.parent / "no/such/dir") in capsys.readouterr().err


def test_a_definition_that_is_too_large_or_no_text_is_told(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    xml = conf.parent / "xml/web.xml"
    xml.write_bytes(b"\xff")
    assert import_with_xml(conf) == ExitCode.FAILED
    assert f"{xml}: is not UTF-8 text" in capsys.readouterr().err
    xml.write_bytes(b"<domain>" + b" " * (2 << 20))
    assert import_with_xml(conf) == ExitCode.FAILED
    assert "at most 1048576 bytes" in capsys.readouterr().err


def test_a_file_may_come_by_standard_input(
    conf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(conf.read_bytes())))
    assert run(["import", "-", "--xml-dir", str(conf.parent / "xml")]) == ExitCode.DONE
    assert "<stdin>:2: rm/vm[web]" in capsys.readouterr().err


FENCED = CONF.replace(
    '<clusternode name="n1"/></clusternodes>',
    '<clusternode name="n1"><fence><method name="1"><device name="ipmi"/></method></fence></clusternode></clusternodes>'
    '<fencedevices><fencedevice name="ipmi" agent="fence_ipmilan" passwd="hunter2"/></fencedevices>',
)


def test_passwords_become_programs_for_their_owner_alone(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf.write_text(FENCED)
    out, programs = conf.parent / "vmha.yaml", conf.parent / "fence"
    assert import_with_xml(conf, "-o", str(out), "--passwords", str(programs)) == ExitCode.DONE
    (program,) = programs.iterdir()
    assert (programs.stat().st_mode & 0o777, program.stat().st_mode & 0o777) == (0o700, 0o700)
    assert subprocess.run([program], capture_output=True, text=True, timeout=30, check=True).stdout == "hunter2\n"
    said = capsys.readouterr()
    assert f"{programs} holds what prints 1 passwords: copy it to each node as /etc/vmha/fence" in said.out
    assert f"passwd_script: /etc/vmha/fence/{program.name}" in out.read_text()
    assert "hunter2" not in out.read_text() + said.out + said.err


def test_passwords_that_nobody_writes_are_told_of(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf.write_text(FENCED)
    assert import_with_xml(conf) == ExitCode.DONE
    said = capsys.readouterr()
    assert "1 passwords of fence devices are not in the document" in said.err
    assert "--passwords DIR writes them" in said.err
    assert import_with_xml(conf, "--json") == ExitCode.DONE
    told = capsys.readouterr().out
    assert json.loads(told)["programs"] == ["/etc/vmha/fence/ipmi-passwd"]
    assert "hunter2" not in said.out + said.err + told


def test_folder_for_programs_that_can_not_be_made_is_named(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf.write_text(FENCED)
    assert import_with_xml(conf, "--passwords", str(conf)) == ExitCode.BAD_INPUT
    assert f"import: {conf}: file exists" in capsys.readouterr().err
