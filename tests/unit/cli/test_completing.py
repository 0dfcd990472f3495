"""What a shell is told may come next, without a cluster: verbs, options, closed lists; and never an error."""

import pytest

from tests.support.etcd import free_ports
from vmha.cli.completing import complete
from vmha.cli.completion import Shell
from vmha.cli.main import run


def words(*line: str) -> list[str]:
    kind, found = complete(list(line))
    assert kind == "words"
    return [word for word, _ in found]


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMHA_ENDPOINTS", f"127.0.0.1:{free_ports(1)[0]}")


@pytest.mark.parametrize(
    ("line", "among"),
    [
        ([""], "status"),
        (["no"], "node"),
        (["vm", ""], "migrate"),
        (["vm", "mig"], "migrate"),
        (["--cluster", "x", "vm", "mig"], "migrate"),
        (["vm", "--cluster", "x", "mig"], "migrate"),
        (["status", "--w"], "--watch"),
        (["vm", "add", "x", "--rec"], "--recovery"),
        (["vm", "add", "x", "--recovery", ""], "relocate"),
        (["vm", "add", "x", "--recovery", "rel"], "relocate"),
        (["vm", "add", "x", "--recovery=rel"], "--recovery=relocate"),
        (["vm", "add", "--end"], "--endpoints"),
        (["pause", "--mode", "s"], "starts"),
        (["completion", "z"], "zsh"),
    ],
)
def test_verbs_options_and_closed_lists_are_offered(line: list[str], among: str) -> None:
    assert among in words(*line)


@pytest.mark.parametrize(
    "line", [["apply", ""], ["vm", "add", "x", "--xml", ""], ["vm", "add", "x", "--xml=/e"], ["lab", "exec", "--", ""]]
)
def test_where_a_file_is_wanted_the_shell_is_to_offer_files(line: list[str]) -> None:
    assert complete(line) == ("files", [])


def test_only_what_begins_like_the_word_is_offered_with_its_meaning() -> None:
    kind, found = complete(["vm", "st"])
    assert kind == "words"
    assert [word for word, _ in found] == ["start", "stop", "story"]
    assert all(text for _, text in found)


@pytest.mark.parametrize(
    "line",
    [
        ["vm", "start", ""],
        ["node", "drain", ""],
        ["nonsense", ""],
        ["vm", "nonsense", "more", ""],
        ["--nonsense", "--", "-", ""],
        ["vm", "start", "--cluster", "not a name", ""],
        ["status", "one", "too", "many"],
        [],
    ],
)
def test_no_cluster_and_no_nonsense_makes_it_fail_or_talk(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_VMHA_COMPLETE", "1")
    assert run(line) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[0] in ("words", "files")


@pytest.mark.parametrize("shell", list(Shell))
def test_each_shells_script_is_printed(shell: Shell, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_VMHA_COMPLETE" in capfd.readouterr().out
