"""The API token of a command: the given one, or that of this user's own gateway."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.cli.local_access import TOKEN_FILE, address_in, read_token
from gateway.errors import ConfigError

DATA_DIR_VARIABLE: Final = "ACP_GATEWAY_EMBEDDED_DATA_DIR"
#: What a header can contain (RFC 6750 2.1).
_TOKEN: Final = re.compile("[!-~]+")


def token_for(url: str, token_file: str | None, environ: Mapping[str, str]) -> str | None:
    """The token for ``url``. It is not an option, because every process on the machine can read those.

    By default, the one that this user's gateway at that address has put into its data directory.
    """
    variable = environ.get("ACP_GATEWAY_TOKEN")
    path = token_file or (None if variable else environ.get("ACP_GATEWAY_TOKEN_FILE"))
    if path is not None:
        return _checked(_read(path), f"The token in the file {path}")
    return _checked(variable, "ACP_GATEWAY_TOKEN") if variable else _found(url, environ)


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError) as exc:
        raise ConfigError(f"The token's file {path} cannot be read: {exc}") from exc


def _checked(text: str, what: str) -> str | None:
    token = text.strip()
    if token and not _TOKEN.fullmatch(token):
        # Not quoted, because it may still be a secret.
        raise ConfigError(f"{what} must be printable ASCII characters, with no spaces and line breaks between them.")
    return token or None


def usual_data_dir(environ: Mapping[str, str]) -> Path:
    """Where commands look for the gateway's data directory; RuntimeError if there is no home directory."""
    from gateway.db.embedded import default_data_dir

    return Path(environ.get(DATA_DIR_VARIABLE) or default_data_dir(environ)).expanduser().absolute()


def _found(url: str, environ: Mapping[str, str]) -> str | None:
    try:
        data_dir = usual_data_dir(environ)
        # Anybody might listen at another address or port.
        if address_in(data_dir) != _address(url):
            return None
    except (RuntimeError, ValueError):
        return None
    kept = read_token(data_dir)
    return None if kept is None else _checked(kept.text, f"The token in the file {data_dir / TOKEN_FILE}")


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
