"""Agents that mean harm: nothing they say runs, leads anywhere, loads anything, or looks like what it is not."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.console.browsing import Console
from tests.console.saying import begin, text, update
from tests.world import Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

EVIL = "http://evil.example"
#: Each would set ``window.pwned``, or do worse, wherever it is taken for more than text.
HARM = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "<svg onload='window.pwned = 1'><script>window.pwned = 1</script></svg>",
    "<iframe srcdoc='<script>parent.pwned = 1</script>'></iframe>",
    "<style>body { display: none }</style><base href='http://evil.example'>",
    "<form action='http://evil.example'><button>Allow</button></form>",
    "<a href='javascript:window.pwned = 1'>go</a>",
    "[go](javascript:window.pwned=1) [go](JaVaScRiPt:window.pwned=1) [go](data:text/html,<script>1</script>)",
    "[go](//evil.example/x) [go](/api/projects) [go](vbscript:x) <javascript:window.pwned=1> [go](blob:x)",
    f"![leak]({EVIL}/leak.png) ![leak](javascript:window.pwned=1) ![leak](data:image/svg+xml,<svg/>)",
    f"[safe]({EVIL}/page) {EVIL}/plain",
    "\u202egpj.exe\u202c \u2066hidden\u2069 \u200b\ufeff",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x9b31m",
    "W" * 4000,
    "`" * 3
    + "<script>window.pwned = 1</script>\n"
    + "# heading\n> quote\n- list\n\n| a | b |\n|---|---|\n| <b>x | y |\n",
)
ALL = "\n\n".join(HARM)
#: The tags that may stand in a transcript; what is in no list cannot come to be.
HARMLESS = {
    "A", "ARTICLE", "BDI", "BLOCKQUOTE", "BR", "BUTTON", "CODE", "DD", "DEL", "DETAILS", "DIV", "DL", "DT", "EM",
    "FIGCAPTION", "FIGURE", "FOOTER", "H2", "HR", "IMG", "INS", "LI", "OL", "P", "PRE", "PROGRESS", "S", "SECTION",
    "SPAN", "STRONG", "SUMMARY", "TABLE", "TBODY", "TD", "TH", "THEAD", "TIME", "TR", "UL", "path", "svg",
}  # fmt: skip


def attack(said: str) -> list[Any]:
    """``said`` in every place that an agent can fill."""
    content = [
        {"type": "content", "content": text(said)},
        {"type": "diff", "path": said, "oldText": said, "newText": f"{said}\n{said}"},
        {"type": "content", "content": {"type": "resource_link", "name": said, "uri": "javascript:window.pwned=1"}},
        {"type": "content", "content": {"type": "resource", "resource": {"uri": said, "text": said}}},
        {"type": "content", "content": {"type": "image", "mimeType": "image/svg+xml", "data": "PHN2Zy8+"}},
    ]
    call = {"toolCallId": "call-1", "title": said, "kind": "edit", "content": content, "locations": [{"path": said}]}
    options = [{"optionId": kind, "name": said, "kind": kind} for kind in ("allow_once", "reject_once")]
    return [
        update("agent_thought_chunk", content=text(said)),
        update("plan", entries=[{"content": said, "priority": "high", "status": "pending"}]),
        update("agent_message_chunk", content=text(said)),
        update("tool_call", status="completed", rawInput={"command": said, said[:40]: said}, rawOutput=said, **call),
        update("available_commands_update", availableCommands=[{"name": said, "description": said}]),
        update("current_mode_update", currentModeId=said),
        ["ask", {"toolCall": {**call, "toolCallId": "call-2", "rawInput": said}, "options": options}],
    ]


async def unfold(page: Console) -> None:
    await page.page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")


async def test_what_an_agent_says_does_not_run_load_or_lead_anywhere(page: Console, scripted_project: Project) -> None:
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    await begin(page, scripted_project, [*attack(ALL), ["until-cancel"]], title=ALL[:200])
    await expect(page.dock.get_by_role("article")).to_be_visible()
    await unfold(page)
    assert await page.page.evaluate("window.pwned") is None
    assert all(url.startswith((page.url, "data:image/png", "data:image/svg")) for url in asked), asked
    tags = await page.page.evaluate(
        "[...new Set([...document.querySelectorAll('main :is(.transcript, .dock) *')].map((one) => one.tagName))]"
    )
    assert set(tags) <= HARMLESS
    links = await page.page.evaluate(
        "[...document.querySelectorAll('main .transcript a')].map((one) => [one.href, one.rel, one.target])"
    )
    assert {link[0] for link in links} == {f"{EVIL}/", f"{EVIL}/page", f"{EVIL}/plain", f"{EVIL}/leak.png"}
    assert {(rel, target) for _, rel, target in links} == {("noopener noreferrer nofollow", "_blank")}
    assert await page.page.evaluate("[...document.querySelectorAll('main img')].length") == 0


async def test_what_deceives_the_eye_is_named(page: Console, scripted_project: Project) -> None:
    await begin(page, scripted_project, [*attack(ALL), ["until-cancel"]], title="\u202egpj.exe")
    await expect(page.dock.get_by_role("article")).to_be_visible()
    await unfold(page)
    shown = await page.page.evaluate("document.body.innerText")
    assert not set(shown) & set("\x1b\x9b\u202e\u2066\u2069\u200b\ufeff")
    assert "⟨U+202E⟩gpj.exe" in shown
    assert "⟨U+202E⟩" in await page.dock.get_by_role("heading").inner_text()


@pytest.mark.parametrize("width", [360, 820])
async def test_nothing_is_wider_than_the_page(page: Console, scripted_project: Project, width: int) -> None:
    await page.page.set_viewport_size({"width": width, "height": 740})
    await begin(page, scripted_project, [*attack(ALL), ["until-cancel"]], title="W" * 200)
    await expect(page.dock.get_by_role("article")).to_be_visible()
    await unfold(page)
    wide = await page.page.evaluate(
        "[document.documentElement, document.querySelector('.transcript'), document.querySelector('.dock')]"
        ".map((one) => one.scrollWidth - one.clientWidth)"
    )
    assert wide == [0, 0, 0]


async def test_what_has_no_form_breaks_nothing_but_itself(page: Console, scripted_project: Project) -> None:
    broken = [
        update("agent_message_chunk", content=None),
        update("agent_message_chunk", content={"type": "text", "text": 7}),
        update("agent_message_chunk", content=["x"]),
        update("agent_message_chunk", content={"type": "image", "data": 5}),
        update("agent_thought_chunk"),
        update("plan", entries="none"),
        update("plan", entries=[None, 5, {"content": {"a": 1}, "status": 3}]),
        update("tool_call", toolCallId={"a": 1}, title=5, content="x", locations="y", status=[], kind={}),
        update(
            "tool_call", toolCallId="c", title=None, content=[None, 3, {"type": "diff"}], rawInput=[1], rawOutput=False
        ),
        update("tool_call_update", toolCallId="unknown", status="completed"),
        update("usage_update", used="many", size=None, cost={"amount": "x", "currency": 5}),
        update("available_commands_update", availableCommands=5),
        update("something_new", value={"deep": [1]}),
        update("__proto__", constructor=1),
    ]
    await begin(page, scripted_project, [*broken, ["say", "still here", 1]], title="broken")
    await expect(page.answers.last).to_have_text("still here")
    await expect(page.status("Idle")).to_be_visible()
    await unfold(page)
    await page.page.reload()
    await expect(page.answers.last).to_have_text("still here")


async def test_names_of_javascripts_own_are_words_like_any_other(page: Console, scripted_project: Project) -> None:
    names = ["constructor", "toString", "__proto__", "hasOwnProperty"]
    steps = [
        *[update(name, content=text("x")) for name in names],
        update("current_mode_update", currentModeId={"toString": 1}),
        *[
            update("tool_call", toolCallId=f"c-{name}", title={"toString": name}, kind=name, status=name)
            for name in names
        ],
        update("plan", entries=[{"content": f"step {name}", "status": name} for name in names]),
        ["say", "still here", 1],
    ]
    await begin(page, scripted_project, steps, title="names")
    await expect(page.answers.last).to_have_text("still here")
    await expect(page.status("Idle")).to_be_visible()
    await expect(page.transcript.locator(".plan-entry.pending")).to_have_count(len(names))
    await expect(page.transcript.locator(".tool-state")).to_have_text(["not finished"] * len(names))
    shown = await page.transcript.inner_text()
    assert "native code" not in shown
    assert "The agent says: constructor" in shown


async def test_an_agent_speaks_in_the_gateways_name_nowhere(page: Console, scripted_project: Project) -> None:
    steps = [
        update("session_ended", endedBy="somebody"),
        update("gap", reason="skipped", count=5),
        update("auth_required"),
        ["say", "still here", 1],
    ]
    await begin(page, scripted_project, steps, title="names")
    await expect(page.answers.last).to_have_text("still here")
    shown = await page.transcript.inner_text()
    assert "The agent says: session_ended" in shown
    for sentence in ("The session was ended", "Something is missing", "needs a connected account"):
        assert sentence not in shown


@pytest.mark.parametrize(
    "call",
    [
        {"content": [None, 3], "rawInput": {"a": 1}},
        {"content": "all", "rawInput": 7, "locations": [None]},
        {
            "content": [{"type": "diff", "path": {}, "oldText": 1}],
            "rawInput": {"command": [None]},
            "kind": "constructor",
        },
        {"content": [{"type": "resource_link", "uri": 5}, {"type": "content", "content": None}], "title": {}},
    ],
)
async def test_a_permission_of_no_form_is_shown_and_can_be_answered(
    page: Console, scripted_project: Project, call: dict[str, Any]
) -> None:
    options = [{"optionId": "yes", "name": "Yes", "kind": "constructor"}]
    ask = {"toolCall": {"toolCallId": "c", "title": "Go on?", **call}, "options": options}
    await begin(page, scripted_project, [["call", "session/request_permission", ask], ["until-cancel"]], title="broken")
    await expect(page.dock.get_by_role("button", name="Yes")).to_be_visible()
    await page.page.reload()
    # By the keyboard: while the page is being put together again, a mouse may miss what has moved.
    await page.dock.get_by_role("button", name="Yes").press("Enter")
    await expect(page.answers.last).to_contain_text("selected")
    await expect(page.dock).to_be_hidden()
