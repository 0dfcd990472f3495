"""The login to etcd as it stands in the settings."""

from pathlib import Path

import pytest

from vmha.model.errors import Rejected
from vmha.store.channels import Login, load_login


def test_password_is_the_first_line_and_shows_up_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\nand a comment\n")
    login = load_login("agent", str(file))
    assert login == Login(user="agent", password="secret")
    assert "secret" not in repr(login)


def test_no_user_is_no_login() -> None:
    assert load_login("", "") is None


@pytest.mark.parametrize(("user", "file"), [("agent", ""), ("", "/etc/hostname"), ("agent", "/nowhere/at/all")])
def test_half_a_login_is_rejected(user: str, file: str) -> None:
    with pytest.raises(Rejected, match="etcd_password_file"):
        load_login(user, file)
