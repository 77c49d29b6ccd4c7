"""What containers say is masked before it is understood, each event once."""

import json
from collections.abc import Callable
from typing import cast

import pytest

from gateway.credentials.known import KnownSecrets
from gateway.errors import DatabaseUnavailable
from gateway.follow.recorder import LookUp
from gateway.ingest.mask import LARGE_EVENT, Masking
from gateway.log.store import NewEvent
from gateway.wire.masking import Masker
from gateway.wire.sse import SSEEvent

SECRET = "abcdefghijklmnop0123456789"


class Secrets:
    def masker(self, project_id: str) -> Masker:
        return Masker([SECRET])


def piece(text: str) -> SSEEvent:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    data = {"sessionId": "s", "data": {"update": update, "padding": "x" * LARGE_EVENT}}
    return SSEEvent(event="session_update", data=json.dumps(data), id=None)


async def meaning(masking: Masking, event: SSEEvent) -> str:
    look_up = cast("LookUp", masking("p", event))
    while True:
        try:
            found = await look_up()
        except DatabaseUnavailable:
            continue
        assert found is not None
        text: str = json.loads(found.data)["data"]["update"]["content"]["text"]
        return text


def output(text: str) -> SSEEvent:
    data = {"sessionId": "s", "data": {"terminalId": "t", "text": text}}
    return SSEEvent(event="terminal_output", data=json.dumps(data), id=None)


def understood(event: SSEEvent) -> NewEvent:
    return NewEvent(type=event.event, data=event.data.encode())


def looked_up(event: SSEEvent, failures: int) -> LookUp:
    left = iter(range(failures))

    async def look_up() -> NewEvent:
        if next(left, None) is not None:
            raise DatabaseUnavailable("away")
        return understood(event)

    return look_up


@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_a_secret_that_is_split_over_large_events_is_masked_however_often_they_are_looked_up(
    failures: int,
) -> None:
    looks: dict[str, LookUp] = {}

    def translate(_: str, event: SSEEvent) -> LookUp:
        return looks.setdefault(event.data[:5_000], looked_up(event, failures))

    masking = Masking(cast("KnownSecrets", Secrets()), cast("Callable[[str, SSEEvent], NewEvent]", translate))
    assert await meaning(masking, piece(f"key {SECRET[:8]}")) == f"key {SECRET[:8]}"
    assert await meaning(masking, piece(f"{SECRET[8:]} done")) == "*** done"


@pytest.mark.parametrize("is_large", [True, False])
@pytest.mark.parametrize("fails_later", [True, False])
async def test_what_cannot_be_translated_is_kept_without_its_secrets(is_large: bool, fails_later: bool) -> None:
    def translate(_: str, event: SSEEvent) -> LookUp:
        if fails_later:
            return fail
        raise KeyError(event.data)

    async def fail() -> NewEvent:
        raise KeyError("a fault of ours")

    masking = Masking(cast("KnownSecrets", Secrets()), translate)
    padding = "x" * LARGE_EVENT if is_large else ""
    told = masking("p", SSEEvent(event="new", data=json.dumps({"key": SECRET, "padding": padding}), id=None))
    kept = await told() if callable(told) else told
    assert kept is not None
    assert kept.type == "container_event"
    assert json.loads(json.loads(kept.data)["data"])["key"] == "***"


def test_a_secret_is_masked_that_a_command_writes_in_two_pieces() -> None:
    masking = Masking(cast("KnownSecrets", Secrets()), lambda _, event: understood(event))
    texts = [f"key {SECRET[:12]}", f"{SECRET[12:]} done"]
    told = [cast("NewEvent", masking("p", output(text))) for text in texts]
    shown = "".join(json.loads(one.data)["data"]["text"] for one in told)
    assert shown == f"key {SECRET[:8]}*** done"
