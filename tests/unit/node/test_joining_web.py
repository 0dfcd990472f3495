"""What the dashboard of a host gets that joins: a certificate and settings of its own, and nothing of the node's."""

import os
import pwd
import stat
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vmha.cli.connect import find_place
from vmha.model.errors import Refused, Rejected
from vmha.model.web import WebSettings
from vmha.node.handing_out import write
from vmha.node.joining import Joining, prepare
from vmha.node.joining_web import USER, prepare_dashboard
from vmha.node.settings import NodeSettings
from vmha.pki.authority import Authority, Kind
from vmha.pki.certificates import read_certificate
from vmha.pki.renewed import LOOK_EVERY_S
from vmha.store.tls_files import RenewedFiles, TlsFiles

NOW = datetime.now(UTC)
GIVEN = {"cluster": "prod", "node": "kvm1", "endpoints": ["10.0.0.1:2379"], "address": "10.0.0.11", "watchdog": ""}


@pytest.fixture
def web(config: Path) -> Path:
    """The dashboard's folder, as the package makes it."""
    folder = config.parent / "web"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def node(authority: Authority, config: Path) -> NodeSettings:
    joining = prepare(config, GIVEN, certificates=authority.folder, now=NOW)
    write(joining.files)
    return joining.settings


def joined(authority: Authority, config: Path, **options: Any) -> Joining:
    given = {"certificates": authority.folder, "now": NOW, **options}
    dashboard = prepare_dashboard(config, node(authority, config), **given)
    assert dashboard
    write(dashboard.files)
    return dashboard


def user(web: Path) -> str:
    return read_certificate((web / "cert.pem").read_bytes(), where="").common_name


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_an_authority_issues_the_dashboard_a_readers_certificate_and_its_settings_name_it(
    authority: Authority, config: Path, web: Path
) -> None:
    joined(authority, config)
    place = find_place(environ={"VMHA_CONFIG": str(web / "vmha.toml")})
    assert (place.cluster, place.endpoints) == ("prod", ("10.0.0.1:2379",))
    assert (place.ca, place.cert, place.key) == (web / "ca.pem", web / "cert.pem", web / "key.pem")
    assert user(web) == "vmha-prod-reader"
    assert stat.S_IMODE((web / "key.pem").stat().st_mode) == 0o600
    assert (web / "key.pem").read_bytes() != (config.parent / "tls/key.pem").read_bytes()
    assert {(one.kind, one.name) for one in authority.issued()} == {("node", "kvm1"), ("reader", "web-kvm1")}


def test_its_files_belong_to_the_owner_of_its_folder(authority: Authority, config: Path, web: Path) -> None:
    if os.geteuid() == 0:
        os.chown(web, 12345, 12346)
    owner = web.stat()
    joined(authority, config)
    for path in web.iterdir():
        assert (path.stat().st_uid, path.stat().st_gid) == (owner.st_uid, owner.st_gid), path


def test_joining_again_changes_nothing_of_it(authority: Authority, config: Path, web: Path) -> None:
    joined(authority, config)
    before = contents(web)
    assert not any(file.is_new for file in joined(authority, config).files)
    assert contents(web) == before


def test_a_renewed_certificate_takes_the_place_of_the_old_one_and_is_taken_into_use(
    authority: Authority, config: Path, web: Path
) -> None:
    joined(authority, config)
    in_use = RenewedFiles(TlsFiles(ca=web / "ca.pem", cert=web / "cert.pem", key=web / "key.pem"))
    assert in_use.look(10.0) is None
    before = contents(web)
    joined(authority, config, now=NOW + timedelta(days=350))
    after = contents(web)
    assert sorted(name for name in after if after[name] != before[name]) == ["cert.pem", "key.pem"]
    assert any(in_use.look(20.0 + number * LOOK_EVERY_S) for number in range(3)), "as every client of etcd's does"


def test_an_operators_certificate_is_asked_for_and_stays_one_when_it_is_renewed(
    authority: Authority, config: Path, web: Path
) -> None:
    joined(authority, config, role="operator")
    assert user(web) == "vmha-prod-operator"
    joined(authority, config, now=NOW + timedelta(days=350))
    assert user(web) == "vmha-prod-operator"
    joined(authority, config, role="reader")
    assert user(web) == "vmha-prod-reader"


def test_what_was_issued_elsewhere_is_put_there_too(authority: Authority, config: Path, web: Path) -> None:
    issued = authority.issue(Kind.OPERATOR, "web-kvm1", (), now=NOW, days=90).folder
    joined(authority, config, certificates=config.parent / "tls", source=issued)
    assert (web / "cert.pem").read_bytes() == (issued / "cert.pem").read_bytes()


def test_it_keeps_what_the_nodes_settings_say_of_a_dashboard(authority: Authority, config: Path, web: Path) -> None:
    node(authority, config)
    with config.open("a") as file:
        file.write('[web]\nlisten = "127.0.0.1:9999"\npublic = false\n')
    there = prepare(config, {}, now=NOW).settings
    dashboard = prepare_dashboard(config, there, certificates=authority.folder, now=NOW)
    assert dashboard
    write(dashboard.files)
    written = tomllib.loads((web / "vmha.toml").read_text())
    assert written["web"] == {"listen": "127.0.0.1:9999", "public": False}


def test_where_others_reach_it_browsers_are_shown_a_certificate_of_the_authority_and_it_is_renewed(
    authority: Authority, config: Path, web: Path
) -> None:
    joined(authority, config, listen="0.0.0.0:9780")
    shown = WebSettings.model_validate(tomllib.loads((web / "vmha.toml").read_text())["web"])
    assert (shown.listen, shown.cert, shown.key) == ("0.0.0.0:9780", web / "https-cert.pem", web / "https-key.pem")
    assert shown.why_no_login == ""
    known = read_certificate((web / "https-cert.pem").read_bytes(), where="")
    assert known.addresses == ("10.0.0.11", "kvm1")
    assert stat.S_IMODE((web / "https-key.pem").stat().st_mode) == 0o600
    before = contents(web)
    joined(authority, config)
    assert contents(web) == before
    joined(authority, config, now=NOW + timedelta(days=350))
    after = contents(web)
    renewed = {"cert.pem", "key.pem", "https-cert.pem", "https-key.pem"}
    assert {name for name in after if after[name] != before[name]} == renewed
    with pytest.raises(Refused, match=r"listen is 0\.0\.0\.0:9780 there, 10\.0\.0\.11:9780 was asked for"):
        joined(authority, config, listen="10.0.0.11:9780")


def test_on_this_host_alone_or_with_a_certificate_of_the_sites_none_is_issued_for_browsers(
    authority: Authority, config: Path, web: Path
) -> None:
    assert joined(authority, config, listen="127.0.0.1:9781").notes == (
        "the dashboard speaks to etcd as vmha-prod-reader: for reading",
    )
    assert "web" not in {one.kind for one in authority.issued()}
    (web / "vmha.toml").unlink()
    with config.open("a") as file:
        file.write('[web]\nlisten = "10.0.0.11:9780"\ncert = "/site/cert"\nkey = "/site/key"\n')
    joined(authority, config)
    assert "web" not in {one.kind for one in authority.issued()}
    assert tomllib.loads((web / "vmha.toml").read_text())["web"]["cert"] == "/site/cert"


def test_where_nothing_can_issue_it_is_told_that_nobody_can_log_in(
    authority: Authority, config: Path, web: Path
) -> None:
    issued = authority.issue(Kind.READER, "web-kvm1", (), now=NOW, days=90).folder
    dashboard = joined(authority, config, source=issued, listen="10.0.0.11:9780")
    assert "no log-in on 10.0.0.11:9780" in dashboard.notes[1]
    assert not (web / "https-cert.pem").exists()


def test_what_does_not_fit_is_rejected_with_what_would_and_nothing_is_written(
    authority: Authority, config: Path, web: Path
) -> None:
    settings = node(authority, config)
    issued = authority.issue(Kind.NODE, "kvm1", ("10.0.0.11",), now=NOW, days=90).folder
    reader = authority.issue(Kind.READER, "wall", (), now=NOW, days=90).folder
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, r"there is no .*/etc/web/vmha.toml \(accepted: --web-certificates DIR"),
        ({"certificates": issued}, "vmha pki issue AUTHORITY reader web-kvm1"),
        ({"source": issued}, "--web-certificates .*: the certificate is for vmha-prod-node-kvm1"),
        ({"source": reader, "role": "operator"}, "certificate is for vmha-prod-reader .*vmha-prod-operator"),
        ({"source": web}, "No such file"),
        ({"certificates": authority.folder, "listen": "9780"}, "--web-listen: listen: '9780'"),
        ({"certificates": authority.folder, "role": "node"}, "--web-role: 'node' .*reader or operator"),
    ]
    for options, words in cases:
        with pytest.raises(Rejected, match=words):
            prepare_dashboard(config, settings, now=NOW, **options)
    assert contents(web) == {}


def test_settings_of_a_site_are_left_as_they_are(authority: Authority, config: Path, web: Path) -> None:
    settings = node(authority, config)
    own = web / "vmha.toml"
    own.write_text('[tls]\nca = "/site/ca"\ncert = "/site/cert"\nkey = "/site/key"\n')
    assert prepare_dashboard(config, settings, now=NOW) is None
    assert prepare_dashboard(config, settings, certificates=authority.folder, now=NOW) is None
    with pytest.raises(Refused, match="names /site/cert, which is not in"):
        prepare_dashboard(config, settings, source=authority.folder, now=NOW)
    own.write_text('[web]\nlisten = "127.0.0.1:9781"\n')
    with pytest.raises(Refused, match=r"no ca, cert and key in a table \[tls\]"):
        prepare_dashboard(config, settings, certificates=authority.folder, now=NOW)


@pytest.mark.parametrize("given", ["certificates", "source"])
@pytest.mark.parametrize("which", ["ca", "cert", "key"])
def test_nothing_is_put_where_only_the_dashboards_own_settings_say_so(
    authority: Authority, config: Path, web: Path, which: str, given: str
) -> None:
    """They are the dashboard's to write, and whoever joins a host is root: its folder is all that is given to it."""
    elsewhere = config.parent / "of-root"
    elsewhere.write_bytes(b"root's")
    files = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    lines = [f'{name} = "{elsewhere if name == which else web / file}"' for name, file in files.items()]
    (web / "vmha.toml").write_text("\n".join(['cluster = "prod"', "[tls]", *lines]))
    settings, before = node(authority, config), contents(web)
    if given == "certificates":
        assert prepare_dashboard(config, settings, certificates=authority.folder, now=NOW) is None
    else:
        with pytest.raises(Refused, match=f"{elsewhere}, which is not in {web}"):
            prepare_dashboard(config, settings, source=authority.folder, now=NOW)
    assert elsewhere.read_bytes() == b"root's"
    assert contents(web) == before


def test_without_a_folder_it_is_made_for_the_user_of_the_unit_who_has_to_be_there(
    authority: Authority, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = node(authority, config)

    def joining() -> None:
        dashboard = prepare_dashboard(config, settings, certificates=authority.folder, now=NOW)
        assert dashboard
        write(dashboard.files)

    def nobody(name: str) -> Any:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody)
    with pytest.raises(Rejected, match=f"no user {USER}"):
        joining()
    assert not (config.parent / "web").exists()
    me = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(pwd, "getpwnam", lambda _: me)
    joining()
    made = (config.parent / "web").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_uid) == (0o700, me.pw_uid)


def test_only_looking_issues_nothing(authority: Authority, config: Path, web: Path) -> None:
    settings = node(authority, config)
    before = authority.issued()
    looked = prepare_dashboard(config, settings, certificates=authority.folder, now=NOW, only_look=True)
    assert looked
    assert [file.path for file in looked.files] == [web / "vmha.toml"]
    assert authority.issued() == before
    assert not looked.can_ask


def test_dashboard_of_a_host_without_tls_reads_the_agents_settings(config: Path, tmp_path: Path) -> None:
    settings = prepare(config, GIVEN, now=NOW).settings
    assert prepare_dashboard(config, settings, now=NOW) is None
    for options in ({"source": tmp_path}, {"listen": "10.0.0.11:9780"}):
        with pytest.raises(Rejected, match="etcd is spoken to without TLS"):
            prepare_dashboard(config, settings, now=NOW, **options)
