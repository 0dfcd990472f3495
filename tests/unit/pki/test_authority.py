"""The small authority: what it issues is what TLS accepts, its keys are private, and it changes in three steps."""

import ssl
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from vmha.model.errors import Refused, Rejected
from vmha.pki.authority import Authority, Kind, Step

NOW = datetime.now(UTC)


def verifies(folder: Path, ca: Path) -> bool:
    command = ["openssl", "verify", "-CAfile", str(ca), str(folder / "cert.pem")]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "name", "user"),
    [
        (Kind.ETCD, "kvm1", "etcd-kvm1"),
        (Kind.NODE, "kvm1", "vmha-prod-node-kvm1"),
        (Kind.OPERATOR, "alice", "vmha-prod-operator"),
        (Kind.RESTORE, "alice", "vmha-prod-restore"),
        (Kind.READER, "wall", "vmha-prod-reader"),
        (Kind.ROOT, "alice", "root"),
    ],
)
def test_what_is_issued_is_accepted_by_tls_and_names_the_user_that_etcd_knows(
    authority: Authority, kind: Kind, name: str, user: str
) -> None:
    issued = authority.issue(kind, name, ("10.0.0.1", "kvm1.example"), now=NOW, days=10)
    assert issued.known.common_name == user
    assert ("10.0.0.1" in issued.known.addresses) == (kind in (Kind.ETCD, Kind.NODE))
    ssl.create_default_context(cafile=str(issued.folder / "ca.pem")).load_cert_chain(
        issued.folder / "cert.pem", issued.folder / "key.pem"
    )
    assert verifies(issued.folder, authority.ca)


def test_no_key_can_be_read_by_others(authority: Authority) -> None:
    authority.issue(Kind.NODE, "kvm1", ("10.0.0.1",), now=NOW, days=10)
    secrets = [*authority.folder.rglob("*.key"), *authority.folder.rglob("key.pem")]
    assert len(secrets) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700


def test_nothing_is_good_for_longer_than_the_authority(authority: Authority) -> None:
    issued = authority.issue(Kind.OPERATOR, "alice", (), now=NOW, days=5000)
    assert issued.known.expires <= max(known.expires for _, known in authority.trusted())


def test_authority_changes_in_three_steps_and_nobody_shows_what_others_do_not_trust_yet(authority: Authority) -> None:
    def issue() -> Path:
        return authority.issue(Kind.NODE, "kvm1", ("10.0.0.1",), now=NOW, days=10).folder

    old_ca = authority.folder / "old-ca.pem"
    old_ca.write_bytes(authority.ca.read_bytes())
    authority.rotate(Step.BEGIN, now=NOW, days=100)
    assert verifies(issue(), old_ca), "who has not got the new bundle yet trusts what is issued now"
    authority.rotate(Step.SWITCH, now=NOW, days=100)
    assert [one.is_current for one in authority.issued()] == [False]
    with pytest.raises(Refused, match="node kvm1 would be trusted no more"):
        authority.rotate(Step.FINISH, now=NOW, days=100)
    folder = issue()
    assert verifies(folder, authority.ca)
    assert not verifies(folder, old_ca)
    authority.rotate(Step.FINISH, now=NOW, days=100)
    assert verifies(folder, authority.ca)
    assert (folder / "ca.pem").read_bytes() == authority.ca.read_bytes()
    assert Authority.open(authority.folder).next_step is Step.BEGIN


@pytest.mark.parametrize("step", [Step.SWITCH, Step.FINISH])
def test_a_step_out_of_turn_is_refused_and_names_the_next(authority: Authority, step: Step) -> None:
    with pytest.raises(Refused, match="--begin"):
        authority.rotate(step, now=NOW, days=100)


def test_an_authority_is_never_made_over_another(authority: Authority) -> None:
    before = authority.ca.read_bytes()
    with pytest.raises(Refused, match="an authority already"):
        Authority.create(authority.folder, cluster="prod", now=NOW, days=100)
    assert authority.ca.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "name", "addresses", "says"),
    [
        (Kind.NODE, "../kvm1", ("10.0.0.1",), "name: '../kvm1'"),
        (Kind.NODE, "kvm1", (), "node kvm1: no address"),
        (Kind.ETCD, "kvm1", ("höst",), "höst"),
        (Kind.NODE, "kvm1", ("10.0.0.1/24",), "address: '10.0.0.1/24'"),
        (Kind.NODE, "kvm1", ("10.0.0.1,10.1.0.1",), "an IP address or a host name"),
        (Kind.NODE, "k" * 64, ("10.0.0.1",), "1 to 64 characters"),
    ],
)
def test_what_can_not_be_issued_is_refused_in_words_and_leaves_nothing(
    authority: Authority, kind: Kind, name: str, addresses: tuple[str, ...], says: str
) -> None:
    with pytest.raises(Rejected, match=says):
        authority.issue(kind, name, addresses, now=NOW, days=10)
    assert authority.issued() == ()
    assert not (authority.folder / "issued").exists()
