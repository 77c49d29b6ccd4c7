"""Agents' files stay inside the workspace, symbolic links resolved first."""

import os
from pathlib import Path

import pytest

from tests.agenthost.hosts import Host

WRITE, READ = "fs/write_text_file", "fs/read_text_file"


async def test_file_is_written_and_read_back_as_it_was(host: Host) -> None:
    session = await host.session()
    path = str(host.workspace / "new" / "deep.txt")
    text = "first\r\nsecond\n\tthird é☃ without an end"
    assert await host.answer_of(session, WRITE, {"path": path, "content": text}) == {}
    assert (host.workspace / "new" / "deep.txt").read_bytes() == text.encode()
    assert await host.answer_of(session, READ, {"path": path}) == {"content": text}


@pytest.mark.parametrize(
    ("members", "content"),
    [
        ({"line": 2}, "2\n3\n4"),
        ({"limit": 2}, "1\n2\n"),
        ({"line": 2, "limit": 1}, "2\n"),
        ({"line": 9}, ""),
        ({"line": 0, "limit": 0}, ""),
        ({"line": None, "limit": None}, "1\n2\n3\n4"),
    ],
)
async def test_lines_are_counted_from_1(host: Host, members: dict[str, int], content: str) -> None:
    path = host.workspace / "lines.txt"
    path.write_text("1\n2\n3\n4")
    session = await host.session()
    assert await host.answer_of(session, READ, {"path": str(path), **members}) == {"content": content}


@pytest.mark.parametrize("odd", ["\x0c", "\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\x1d", "\x1e", "\r", ""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_a_line_ends_where_git_and_editors_end_it(host: Host, odd: str, end: str) -> None:
    path = host.workspace / "lines.txt"
    path.write_bytes(f"one{odd}still one{end}two{end}three".encode())
    session = await host.session()
    for line, content in ((1, f"one{odd}still one{end}"), (2, f"two{end}"), (3, "three"), (4, "")):
        assert await host.answer_of(session, READ, {"path": str(path), "line": line, "limit": 1}) == {
            "content": content
        }


async def test_path_outside_the_workspace_is_an_error_to_the_agent(host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (host.workspace / "link.txt").symlink_to(secret)
    (host.workspace / "up").symlink_to(tmp_path)
    session = await host.session()
    for path in (
        str(secret),
        f"{host.workspace}/../secret.txt",
        f"{host.workspace}/link.txt",
        f"{host.workspace}/up/secret.txt",
        f"{host.workspace}-beside.txt",
        "/etc/passwd",
    ):
        for method in (READ, WRITE):
            refused = await host.answer_of(session, method, {"path": path, "content": "overwritten"})
            assert refused["error"]["code"] == -32602
            assert "outside the workspace" in refused["error"]["message"]
    assert secret.read_text() == "secret"
    assert not (tmp_path / "workspace-beside.txt").exists()


async def test_link_inside_the_workspace_is_followed(host: Host) -> None:
    (host.workspace / "real.txt").write_text("old")
    (host.workspace / "link.txt").symlink_to("real.txt")
    session = await host.session()
    await host.answer_of(session, WRITE, {"path": f"{host.workspace}/link.txt", "content": "new"})
    assert (host.workspace / "real.txt").read_text() == "new"


async def test_dangling_link_to_outside_is_not_written_through(host: Host, tmp_path: Path) -> None:
    (host.workspace / "dangling").symlink_to(tmp_path / "made.txt")
    session = await host.session()
    refused = await host.answer_of(session, WRITE, {"path": f"{host.workspace}/dangling", "content": "x"})
    assert "outside" in refused["error"]["message"]
    assert not (tmp_path / "made.txt").exists()


@pytest.mark.parametrize(
    ("path", "code"),
    [("missing.txt", -32002), ("directory", -32602), ("fifo", -32602), ("binary", -32602)],
)
async def test_what_cannot_be_read_as_text_is_an_error(host: Host, path: str, code: int) -> None:
    (host.workspace / "directory").mkdir()
    os.mkfifo(host.workspace / "fifo")
    (host.workspace / "binary").write_bytes(b"\xff\xfe\x00")
    session = await host.session()
    refused = await host.answer_of(session, READ, {"path": f"{host.workspace}/{path}"})
    assert refused["error"]["code"] == code


@pytest.mark.parametrize("members", [{"path": "relative.txt"}, {"path": 5}, {}, {"path": "/a", "line": "1"}])
async def test_malformed_call_is_an_error(host: Host, members: dict[str, object]) -> None:
    session = await host.session()
    refused = await host.answer_of(session, READ, members)
    assert refused["error"]["code"] == -32602


async def test_nul_in_a_path_is_an_error(host: Host) -> None:
    session = await host.session()
    refused = await host.answer_of(session, READ, {"path": f"{host.workspace}/a\0b"})
    assert refused["error"]["code"] == -32602
