"""What the API says beside what the console shows."""

from tests.world import Project

SETTINGS = {"ACP_GATEWAY_EVENTS_RETRY": "0.2", "ACP_GATEWAY_EVENTS_HEARTBEAT": "0.5"}


def words(text: str) -> list[str]:
    return text.split()


async def api_says(project: Project, session_id: str) -> str:
    """What the gateway's own history has of the agent's words."""
    messages = await project.messages(session_id, "?limit=200")
    said = [block["text"] for message in messages if message["role"] == "assistant" for block in message["content"]]
    return "\n".join(said)
