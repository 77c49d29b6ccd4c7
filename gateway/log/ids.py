"""Which log is meant: a project's own, or the one of its OpenCode's events."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

#: ``acp``: the project's own log. ``opencode``: what its OpenCode says, where that is recorded.
LogName = Literal["acp", "opencode"]

ACP: Final = "acp"
OPENCODE: Final = "opencode"

_SUFFIX: Final = "/opencode"


@attrs.frozen
class LogId:
    """A project, and which of its logs."""

    project_id: str
    name: LogName = ACP

    @classmethod
    def parse(cls, text: str) -> "LogId":
        """What ``str`` gave."""
        project_id = text.removesuffix(_SUFFIX)
        return cls(project_id, ACP if project_id == text else OPENCODE)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "LogId":
        """The log that a row of the database is about."""
        return cls(row["project_id"], row["log"])

    def __str__(self) -> str:
        """As gateways tell each other, and in log lines. No project's id has a slash."""
        return self.project_id if self.name == ACP else self.project_id + _SUFFIX

    @property
    def params(self) -> Mapping[str, str]:
        """What queries of its rows are given."""
        return {"project_id": self.project_id, "log": self.name}
