"""Which log: a project's own, or that of one of its OpenCode's event streams."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from gateway.wire.opencode import StreamName

#: ``acp``: the project's own log. The others: the recorded events of that stream of its OpenCode.
LogName = Literal["acp"] | StreamName

ACP: Final = "acp"


@attrs.frozen
class LogId:
    """A project and one of its logs."""

    project_id: str
    name: LogName = ACP

    @classmethod
    def parse(cls, text: str) -> "LogId":
        """The inverse of ``str``."""
        project_id, _, name = text.partition("/")
        return cls.of({"project_id": project_id, "log": name or ACP})

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "LogId":
        """The log of a database row."""
        return cls(row["project_id"], row["log"])

    def __str__(self) -> str:
        """For other gateways and log lines. Project ids have no slash."""
        return self.project_id if self.name == ACP else f"{self.project_id}/{self.name}"

    @property
    def params(self) -> Mapping[str, str]:
        """The parameters of queries."""
        return {"project_id": self.project_id, "log": self.name}
