"""The page at ``/docs`` in a real browser: what it shows, and that it asks for nothing but this gateway's own."""

from playwright.async_api import Browser, expect

from gateway.web.routes import ENDPOINTS
from tests.browsers import window
from tests.world import Gateway


async def test_the_page_shows_the_api_under_its_strict_policy_and_offline(
    gateway: Gateway, running_browser: Browser
) -> None:
    async with window(running_browser) as context:
        page = await context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        answer = await page.goto(f"{gateway.url}/docs")
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe-eval" not in policy
        await expect(page.get_by_role("heading", name="ACP gateway")).to_be_visible()
        operations = page.locator(".opblock-tag")
        assert await operations.count() == len({one.handler.__module__ for one in ENDPOINTS})
        await page.goto(f"{gateway.url}/docs#/sessions/sessionsPrompt")
        await page.reload()
        await expect(page.get_by_text("Send or queue a prompt").first).to_be_visible()
        await expect(page.get_by_text("session_busy").first).to_be_visible()
        assert [url for url in asked if not url.startswith((gateway.url, "data:"))] == []
        assert complaints == []


async def test_a_call_can_be_made_from_the_page(gateway: Gateway, running_browser: Browser) -> None:
    async with window(running_browser) as context:
        page = await context.new_page()
        await page.goto(f"{gateway.url}/docs#/operations/operationsHealthz")
        await page.get_by_role("button", name="Try it out").click()
        await page.get_by_role("button", name="Execute").click()
        await expect(page.locator(".live-responses-table").get_by_text('"alive"')).to_be_visible()
