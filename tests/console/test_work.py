"""What an agent has its container do is seen as it happens, and after a reload."""

from pathlib import Path
from typing import Any

from playwright.async_api import expect

from tests.console.browsing import Console
from tests.console.saying import begin
from tests.world import Project


def command(script: str) -> list[Any]:
    return ["call", "terminal/create", {"command": "sh", "args": ["-c", script]}]


WAIT = ["call", "terminal/wait_for_exit", {"terminalId": "$TERMINAL"}]


async def test_a_command_shows_what_it_writes_while_it_runs_and_how_it_ended(
    page: Console, scripted_project: Project, tmp_path: Path
) -> None:
    go = tmp_path / "workspace" / "go"
    wait = f"echo begun $((6*7)); until test -e {go}; do sleep 0.02; done; echo gone; exit 3"
    await begin(page, scripted_project, [command(wait), WAIT], title="commands")
    item = page.transcript.locator(".terminal")
    await expect(item.locator(".tool-state")).to_have_text("running")
    await item.locator("summary").click()
    await expect(item.get_by_role("group", name="Output")).to_contain_text("begun 42")
    go.touch()
    await expect(item.locator(".tool-state")).to_have_text("exit status 3")
    await expect(item.get_by_role("group", name="Output")).to_contain_text("gone")
    await page.page.reload()
    await expect(item.locator(".tool-state")).to_have_text("exit status 3")
    await item.locator("summary").click()
    await expect(item.get_by_role("group", name="Output")).to_have_text(f"$ sh -c {wait}\nbegun 42\ngone\n")


async def test_of_a_command_that_wrote_too_much_the_beginning_and_the_end_are_shown(
    page: Console, scripted_project: Project
) -> None:
    await begin(page, scripted_project, [command("seq 1 200000"), WAIT], title="long")
    item = page.transcript.locator(".terminal")
    await expect(item.locator(".tool-state")).to_have_text("done")
    await item.locator("summary").click()
    first, last = (item.get_by_role("group", name="Output").nth(number) for number in (0, 1))
    await expect(first).to_contain_text("\n1\n2\n3\n")
    await item.get_by_role("button").last.click()
    await expect(last).to_contain_text("199999\n200000")
    await expect(item.get_by_text("bytes were too many to keep")).to_be_visible()


async def test_a_file_that_an_agent_writes_shows_its_change_on_demand(
    page: Console, scripted_project: Project, tmp_path: Path
) -> None:
    path = tmp_path / "workspace" / "notes.txt"
    path.write_text("one\ntwo\n")
    steps = [
        ["call", "fs/read_text_file", {"path": str(path)}],
        ["call", "fs/write_text_file", {"path": str(path), "content": "one\n2\n"}],
    ]
    await begin(page, scripted_project, steps, title="files")
    for _ in range(2):
        await expect(page.transcript.get_by_text(f"The agent read {path} (8 bytes).")).to_be_visible()
        change = page.transcript.locator("details.change")
        await expect(change.locator("summary")).to_contain_text(f"The agent wrote {path} (6 bytes).")
        await expect(change.locator("ins")).to_be_hidden()
        await change.locator("summary").click()
        await expect(change.locator("ins")).to_contain_text("2")
        await expect(change.locator("del")).to_contain_text("two")
        await page.page.reload()
