"""The fake model speaks the chat-completions API and plays its script."""

import asyncio
import json

import aiohttp
import pytest

from gateway.wire.sse import SSEParser
from tests.fakes.eventually import eventually
from tests.fakes.model import TITLE, FakeModel

TOOLS = [{"type": "function", "function": {"name": "bash", "parameters": {}}}]


@pytest.fixture
async def model():
    async with FakeModel() as model:
        yield model


def user(text):
    return {"role": "user", "content": text}


async def complete(model, *messages, stream=True, tools=TOOLS):
    body = {"model": "scripted", "messages": list(messages), "stream": stream, "tools": tools}
    async with aiohttp.ClientSession() as http, http.post(f"{model.url}/chat/completions", json=body) as answer:
        return answer.status, await answer.read()


def chunks(raw):
    *events, done = [event.data for event in SSEParser().feed(raw)]
    assert done == "[DONE]"
    return [json.loads(data)["choices"][0] for data in events]


async def test_streams_as_many_chunks_as_asked(model):
    status, raw = await complete(model, user("stream 50"))
    deltas = [chunk["delta"].get("content", "") for chunk in chunks(raw)]
    assert (status, deltas) == (200, [*(f"tok{n} " for n in range(50)), ""])
    assert chunks(raw)[-1]["finish_reason"] == "stop"


async def test_tool_call_ends_the_answer_and_its_result_brings_the_rest(model):
    script = user("say first\nbash touch x\nsay last")
    _, raw = await complete(model, script)
    call = chunks(raw)[1]["delta"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])["command"]) == ("bash", "touch x")
    assert chunks(raw)[-1]["finish_reason"] == "tool_calls"
    _, raw = await complete(model, script, {"role": "tool", "tool_call_id": "call_bash", "content": "ok"})
    assert [chunk["delta"].get("content") for chunk in chunks(raw)] == ["last", None]


async def test_without_a_stream_the_answer_is_one_object(model):
    _, raw = await complete(model, user("stream 3"), stream=False)
    assert json.loads(raw)["choices"][0]["message"] == {"role": "assistant", "content": "tok0 tok1 tok2 "}


async def test_request_without_tools_gets_a_title(model):
    _, raw = await complete(model, user("stream 3"), tools=[])
    assert chunks(raw)[0]["delta"]["content"] == TITLE
    assert model.turns() == []


async def test_queued_script_comes_before_the_prompt(model):
    model.replies.append("say queued")
    assert chunks((await complete(model, user("prompt")))[1])[0]["delta"]["content"] == "queued"
    assert chunks((await complete(model, user("prompt")))[1])[0]["delta"]["content"] == "prompt"


async def test_fails_with_the_status_it_is_told(model):
    assert (await complete(model, user("error 401")))[0] == 401
    assert (await complete(model, user("error 500")))[0] == 500


async def test_held_answer_goes_on_when_released_and_is_counted_when_abandoned(model):
    held = asyncio.create_task(complete(model, user("hold\nsay after")))
    await eventually(lambda: model.holding)
    model.release()
    assert chunks((await held)[1])[0]["delta"]["content"] == "after"
    left = asyncio.create_task(complete(model, user("hold")))
    await eventually(lambda: model.holding)
    left.cancel()
    await eventually(lambda: model.abandoned == 1)


async def test_images_are_recorded(model):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    await complete(model, user([{"type": "text", "text": "say seen"}, picture]))
    assert model.turns()[0].image_urls() == ["data:image/png;base64,AAAA"]
