"""The directories of this machine that commands use."""

from pathlib import Path

from gateway.config import Config
from gateway.db.embedded import default_data_dir, owner_of
from gateway.errors import StartError
from gateway.loading import environment


def data_dir(config: Config) -> Path:
    if config.embedded.data_dir:
        return path_of(config.embedded.data_dir, "The data directory")
    try:
        return default_data_dir(environment())
    except RuntimeError:
        raise StartError("There is no home directory to keep the data in; name a directory with --data-dir") from None


def refuse_second(data_dir: Path) -> None:
    """Before the ports are tried: to be told of those, one after the other, would help nobody here."""
    owner = owner_of(data_dir)
    if owner is not None:
        raise StartError(
            f"A gateway (process {owner}) is running on {data_dir} already: stop it, or give this one a --data-dir "
            "and ports of its own"
        )


def workspace_of(config: Config) -> Path:
    workspace = path_of(config.agent_host.workspace, "The workspace")
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise StartError(
            f"The workspace {workspace} cannot be made: {reason}; choose another with --workspace"
        ) from exc
    return workspace


def path_of(text: str, what: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as exc:
        raise StartError(f"{what} {text}: there is no such home directory") from exc
