"""Definitions in files: regular, bounded, text; anything else is told, and holds nothing up."""

import os
import threading
from pathlib import Path

import pytest

from vmha.hypervisor.files import FileTrouble, LocalFiles
from vmha.model.domain_xml import MAX_BYTES


async def test_text_of_a_regular_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "web.xml"
    file.write_text("<domain>ü</domain>")
    assert await LocalFiles().read_definition(str(file)) == "<domain>ü</domain>"
    link = tmp_path / "link.xml"
    link.symlink_to(file)
    assert await LocalFiles().read_definition(str(link)) == "<domain>ü</domain>"


async def test_what_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert await LocalFiles().read_definition(str(tmp_path / "none.xml")) is None
    (tmp_path / "file").write_text("x")
    assert await LocalFiles().read_definition(str(tmp_path / "file/web.xml")) is None


async def test_anything_but_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(FileTrouble, match=f"{path}: is no regular file"):
            await LocalFiles().read_definition(str(path))


async def test_file_that_is_too_large_or_no_text_is_refused_with_what_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "web.xml"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: it takes no room, and would take all memory
    with pytest.raises(FileTrouble, match=f"has {1 << 40} bytes .accepted: at most {MAX_BYTES} bytes"):
        await LocalFiles().read_definition(str(file))
    file.write_bytes(b"<domain>\xff</domain>")
    with pytest.raises(FileTrouble, match="is not UTF-8 text: byte 8"):
        await LocalFiles().read_definition(str(file))


async def test_file_system_that_does_not_answer_is_given_up_by_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead server's mount holds the call in the kernel; here the kernel's call is held up."""
    released = threading.Event()
    monkeypatch.setattr(os, "rename", lambda *_: released.wait())
    with pytest.raises(FileTrouble, match=r"/nfs/a: its file system has not answered for 0\.2 s"):
        await LocalFiles(timeout_s=0.2).rename("/nfs/a", "/nfs/b")
    released.set()


async def test_renaming_what_is_gone_is_told(tmp_path: Path) -> None:
    files = LocalFiles()
    (tmp_path / "a").write_text("x")
    await files.rename(str(tmp_path / "a"), str(tmp_path / "b"))
    with pytest.raises(FileTrouble, match="no such file"):
        await files.rename(str(tmp_path / "a"), str(tmp_path / "c"))
    assert await files.head(str(tmp_path / "b"), 16) == b"x"
    await files.remove(str(tmp_path / "b"))
    assert await files.head(str(tmp_path / "b"), 16) == b""
