"""The directory that agents work in."""

from pathlib import Path

from gateway.config.schema import Config
from gateway.errors import StartError


def workspace_of(config: Config) -> Path:
    workspace = path_of(config.agent_host.workspace, "The workspace")
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise StartError(
            f"The workspace {workspace} cannot be created: {reason}; choose another with --workspace"
        ) from exc
    return workspace


def path_of(text: str, what: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as exc:
        raise StartError(f"{what} {text}: there is no such home directory") from exc
