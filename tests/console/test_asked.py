"""What a permission's card and its line say: the whole call, and who decided."""

from playwright.async_api import expect

from gateway.permissions.merging import OMITTED
from tests.agenthost.hosts import OPTIONS
from tests.console.browsing import Console
from tests.console.saying import begin
from tests.fakes.container import FakeContainer
from tests.handlers.tool_calls import COMMAND, tell
from tests.world import Gateway, Project


async def test_a_request_that_names_its_call_alone_shows_the_command(page: Console, scripted_project: Project) -> None:
    asked = {"toolCall": {"toolCallId": "v1", "_meta": {OMITTED: ["content"]}}, "options": OPTIONS}
    steps = [["update", COMMAND], ["call", "session/request_permission", asked], ["until-cancel"]]
    await begin(page, scripted_project, steps, title="asked")
    card = page.dock.get_by_role("article")
    await expect(card.get_by_role("heading")).to_contain_text("asks: bash: touch made-by-vibe")
    await expect(card.locator(".tag")).to_have_text("execute")
    await expect(card.get_by_text("$ touch made-by-vibe")).to_be_visible()
    await expect(card.get_by_text("Too long to be shown here: content. The transcript has it.")).to_be_visible()


async def test_what_a_container_allows_by_itself_waits_for_nobody(
    page: Console, gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session_id = await project.create_session()
    await page.open(f"#/demo/{session_id}")
    await expect(page.status("Idle")).to_be_visible()
    tell(base_container, COMMAND)
    asked = {"toolCall": {"toolCallId": "v1"}, "options": OPTIONS}
    base_container.emit("permission_request", asked, session_id=next(iter(base_container.sessions)))
    line = page.transcript.locator(".permission-line")
    await expect(line).to_have_text("Permission: bash: touch made-by-vibe — allowed, by the container itself")
    await expect(page.dock).to_be_hidden()
