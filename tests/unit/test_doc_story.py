"""Pages that are played: what is taken from a page, and when its words are true."""

from pathlib import Path

import pytest

from tests.support.doc_story import ROOT, is_shown, play, story

PAGE = """\
# Page

```console
$ echo one two      # said beside it
one two
# printf 'a  b\\nc\\n'
a     b
...c
```

<!-- not run: it would switch this machine off -->
```console
# poweroff
```

<!-- run instead: echo instead -->
```console
# systemctl stop etcd
instead
```

```yaml
$ nothing: of this
```
"""


def test_commands_of_console_blocks_are_told_in_their_order() -> None:
    told = story(PAGE)
    assert [one.line for one in told] == ["echo one two", "printf 'a b\\nc\\n'", "poweroff", "echo instead"]
    assert [bool(one.not_run) for one in told] == [False, False, True, False]
    assert told[0].shown == ["one two"]


def test_page_is_played_less_what_is_not_run(tmp_path: Path) -> None:
    played = list(play(PAGE.replace("a     b", "a b"), environment={}, directory=tmp_path))
    assert [line for line, _ in played] == ["echo one two", "printf 'a b\\nc\\n'", "echo instead"]


@pytest.mark.parametrize("line", ["false", "echo other"])
def test_command_that_fails_or_prints_something_else_is_found(line: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=line):
        list(play(f"```console\n$ {line}\none\n```\n", environment={}, directory=tmp_path))


def test_shown_pieces_have_to_be_printed_in_their_order() -> None:
    printed = "web    running  h1  2\nmail   running  h2\n"
    assert is_shown(["web  running  h1", "mail ... h2"], printed)
    assert not is_shown(["mail", "web"], printed)
    assert not is_shown(["web  running  h2  2"], printed)


def test_worked_example_of_the_planner_goes_as_its_page_says() -> None:
    page = (ROOT / "docs/explanation/planner.md").read_text()
    assert [line for line, _ in play(page, environment={}, directory=ROOT)] == [
        "vmha simulate docs/examples/sim/lost-node.yaml"
    ]
