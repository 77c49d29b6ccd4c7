"""The Python client as a distribution of its own: what it needs, and its parser beside the gateway's."""

import asyncio
import itertools
import re
import tomllib
from pathlib import Path

import acp_session_gateway_client
import pytest
from acp_session_gateway_client.sse import Block, Parser, TooLarge
from hypothesis import given
from hypothesis import strategies as st

from gateway import __version__
from gateway.wire.sse import SSEEvent, SSEParser
from tests.alone import ROOT, Alone
from tests.wire.streams import STREAMS
from tests.world import Gateway

FOLDER = ROOT / "client"
LARGE = 1 << 20
#: What the server needs and a client does not; its own package, too.
OF_THE_SERVER = ("gateway", "aiopg", "aiohttp_sse", "msgspec", "nacl", "psycopg2")
#: What streams are made of.
PARTS = [b"data", b"id", b"event", b"retry", b":", b" ", b"1", b"\n", b"\r", b"\n\n", b"\xef\xbb\xbf", b"\0", b"x"]


def read(pieces: list[bytes]) -> list[Block]:
    parser = Parser(max_bytes=LARGE)
    return [block for piece in pieces for block in parser.feed(piece)]


def as_block(event: SSEEvent) -> Block:
    return Block(event=event.event, data=event.data, id=event.id, retry=event.retry)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_as_the_standard_says_whole_and_cut_at_every_byte(name: str) -> None:
    stream, expected = STREAMS[name]
    blocks = [as_block(event) for event in expected]
    assert read([stream]) == blocks
    assert read([bytes([byte]) for byte in stream]) == blocks


@given(st.lists(st.sampled_from(PARTS)), st.lists(st.integers(0, 40)))
def test_it_reads_any_bytes_cut_anywhere_as_the_gateways_parser_does(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(places)]
    events = [event for event in SSEParser(max_event_bytes=LARGE).feed(stream) if isinstance(event, SSEEvent)]
    assert read(pieces) == [as_block(event) for event in events]


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 100, b"data: x\n" * 20, b"x" * 100 + b"\n"])
def test_what_is_too_large_ends_the_reading(stream: bytes) -> None:
    with pytest.raises(TooLarge):
        Parser(max_bytes=64).feed(stream)


def test_its_version_is_the_gateways() -> None:
    assert acp_session_gateway_client.__version__ == __version__


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    return Alone.make(FOLDER, tmp_path_factory.mktemp("client"))


def test_installed_alone_it_needs_aiohttp_and_no_more_and_is_typed(alone: Alone) -> None:
    assert alone.import_all("acp_session_gateway_client") == ""
    look = f"from importlib.util import find_spec; print([one for one in {OF_THE_SERVER} if find_spec(one)])"
    assert alone.run("python", "-c", look).stdout == "[]\n"
    needed = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert [re.match(r"[\w-]+", one)[0] for one in needed] == ["aiohttp"]  # type: ignore[index]
    [package] = (alone.home / "env").glob("lib/*/site-packages/acp_session_gateway_client")
    assert (package / "py.typed").is_file()


async def test_the_example_of_its_readme_works_where_it_is_installed_alone(
    alone: Alone, gateway: Gateway, agent_host: str, tmp_path: Path
) -> None:
    await gateway.register(agent_host, defaultAgentId="demo")
    readme = (FOLDER / "README.md").read_text("utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    script = example.replace("http://127.0.0.1:8080", gateway.url)
    done = await asyncio.to_thread(alone.run, "python", "-W", "error", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].endswith(" turn_ended")
