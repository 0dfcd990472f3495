"""Commands of pages that take no more than a folder: they are typed, and what the page shows is printed."""

from pathlib import Path

import pytest

from tests.support.doc_story import ROOT, play
from tests.support.secured import now
from vmha.pki.authority import Authority
from vmha.web.access import Role
from vmha.web.tokens import Tokens
from vmha.web.users import Users


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a host whose dashboard keeps its users in a folder of the test's."""
    settings = tmp_path / "vmha.toml"
    settings.write_text(f'[web]\nusers = "{tmp_path / "users.json"}"\n')
    return {"VMHA_CONFIG": str(settings)}


def test_simulations_go_as_the_readme_says() -> None:
    played = dict(play((ROOT / "README.md").read_text(), environment={}, directory=ROOT, in_process=True))
    assert "never two at any instant" in played["vmha simulate docs/examples/sim/lost-node.yaml"]
    assert any(line.startswith("vmha sim --seeds") for line in played)


def test_users_of_the_dashboard_come_and_go_as_the_page_says(tmp_path: Path, environment: dict[str, str]) -> None:
    page = (ROOT / "docs/howto/dashboard.md").read_text().replace("/etc/vmha/web/users.json", f"{tmp_path}/users.json")
    played = [line for line, _ in play(page, environment=environment, directory=tmp_path, in_process=True)]
    assert "vmha web user remove alice" in played
    assert {name: user.role for name, user in Users(tmp_path / "users.json").all().items()} == {"bob": Role.OPERATOR}


def test_certificates_of_a_host_with_a_dashboard_are_issued_as_the_page_says(tmp_path: Path) -> None:
    Authority.create(tmp_path / "pki", cluster="vmha", now=now(), days=2)
    page = (ROOT / "docs/howto/dashboard.md").read_text()
    assert len(list(play(page, environment={}, directory=tmp_path, on="authority", in_process=True))) == 2
    issued = {path.parent.name for path in tmp_path.glob("pki/issued/*/key.pem")}
    assert issued == {"node-kvm1", "operator-web-kvm1"}
    assert {f"--certificates {name}" in page or f"--web-certificates {name}" in page for name in issued} == {True}


def test_token_is_made_as_the_page_says(tmp_path: Path, environment: dict[str, str]) -> None:
    page = (ROOT / "docs/reference/api.md").read_text()
    assert len(list(play(page, environment=environment, directory=tmp_path, in_process=True))) == 1
    found = Tokens(tmp_path / "users.json").find((tmp_path / "ci.token").read_text().strip(), 0.0)
    assert found is not None
    assert (found[0], found[1].role) == ("ci", Role.OPERATOR)


def test_certificates_are_made_and_the_authority_is_changed_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/howto/tls.md").read_text()
    played = [line for line, _ in play(page, environment={}, directory=tmp_path, in_process=True)]
    assert played[0] == "vmha pki init pki --cluster vmha"
    assert (tmp_path / "pki/issued/node-kvm1/key.pem").exists()
    assert (tmp_path / "pki/ca.pem").read_text() == (tmp_path / "pki/authorities/2.pem").read_text()
