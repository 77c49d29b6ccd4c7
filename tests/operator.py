"""An operator who changes the vault's keys with commands."""

import json
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.program import Ended, run_to_end


@attrs.frozen
class Operator:
    """Somebody at a terminal, with a database of their own and a key file."""

    directory: Path
    environ: Mapping[str, str]

    @property
    def file(self) -> Path:
        return self.directory / "vault.keys"

    def key(self, *arguments: str, **environ: str) -> Ended:
        return run_to_end("key", *arguments, directory=self.directory, environ={**self.environ, **environ})

    def listed(self) -> list[tuple[bool, int]]:
        """Each key: whether it is current, and how many rows it seals."""
        ended = self.key("list", "--json")
        assert ended.status == 0, ended.stderr
        return [(key["current"], key["rows"]) for key in json.loads(ended.stdout)["keys"]]
