"""Which log: a project's own, or that of its OpenCode's events."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

#: ``acp``: the project's own log. ``opencode``: its OpenCode's recorded events.
LogName = Literal["acp", "opencode"]

ACP: Final = "acp"
OPENCODE: Final = "opencode"

_SUFFIX: Final = "/opencode"


@attrs.frozen
class LogId:
    """A project and one of its logs."""

    project_id: str
    name: LogName = ACP

    @classmethod
    def parse(cls, text: str) -> "LogId":
        """The inverse of ``str``."""
        project_id = text.removesuffix(_SUFFIX)
        return cls(project_id, ACP if project_id == text else OPENCODE)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "LogId":
        """The log of a database row."""
        return cls(row["project_id"], row["log"])

    def __str__(self) -> str:
        """For other gateways and log lines. Project ids have no slash."""
        return self.project_id if self.name == ACP else self.project_id + _SUFFIX

    @property
    def params(self) -> Mapping[str, str]:
        """The parameters of queries."""
        return {"project_id": self.project_id, "log": self.name}
