"""The directories of this machine that commands use."""

from pathlib import Path

from gateway.cli.workspace import path_of
from gateway.config.load import environment
from gateway.config.schema import Config
from gateway.db.embedded import default_data_dir, owner_of
from gateway.errors import StartError


def data_dir(config: Config) -> Path:
    if config.embedded.data_dir:
        return path_of(config.embedded.data_dir, "The data directory")
    try:
        return default_data_dir(environment())
    except RuntimeError:
        raise StartError("There is no home directory for the data; set a directory with --data-dir") from None


def refuse_second(data_dir: Path) -> None:
    """To be called before ports are bound, whose errors would be less helpful."""
    owner = owner_of(data_dir)
    if owner is not None:
        raise StartError(
            f"A gateway (process {owner}) is running on {data_dir} already: stop it, or give this one a --data-dir "
            "and ports of its own"
        )
