"""An agent's process, as the operating system knows it."""

from pathlib import Path

from tests.agenthost.hosts import Host


async def pid_of(host: Host, session: str) -> int:
    """The agent's process; the scripted agent has it in its ids."""
    acp_id: str = (await host.get(f"/session/{session}")).body["acpSessionId"]
    return int(acp_id.split("-")[1])


def environment_of(pid: int) -> dict[str, str]:
    raw = Path(f"/proc/{pid}/environ").read_text()
    return dict(entry.split("=", 1) for entry in raw.split("\0") if entry)
