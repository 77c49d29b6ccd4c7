"""Commands that agents run themselves, and show their client in the `_meta` of tool calls.

An extension of ACP that started in Zed and that Codex and others use: `terminal_info` begins a terminal,
`terminal_output` and `terminal_output_delta` have what it has written next, `terminal_exit` ends it.
"""

from typing import Any, Final

from gateway.agenthost.terminals import Report, Tell
from gateway.wire.events import TerminalStarted
from gateway.wire.masking import Masker

#: An update without this tells of none.
SIGN: Final = b'"terminal_'
_OUTPUTS: Final = ("terminal_output", "terminal_output_delta")
#: Commands of one agent process that have not ended. The one before is taken for ended.
_AT_ONCE: Final = 64


class ShownTerminals:
    """Those of one agent process."""

    def __init__(self) -> None:
        #: By session and terminal, oldest first.
        self._reports: dict[tuple[str, str], Report] = {}

    def update(self, session_id: str, update: Any, tell: Tell, masker: Masker) -> None:
        """Tell what an update of a tool call says of its terminal."""
        meta = update.get("_meta") if isinstance(update, dict) else None
        said = {
            name: value for name, value in (meta.items() if isinstance(meta, dict) else ()) if isinstance(value, dict)
        }
        if not said.keys() & {"terminal_info", "terminal_exit", *_OUTPUTS}:
            return
        named = next((one["terminal_id"] for one in said.values() if isinstance(one.get("terminal_id"), str)), None)
        key = session_id, str(named or update.get("toolCallId"))
        if (report := self._reports.get(key)) is None:
            report = self._begin(key, update, said.get("terminal_info", {}), tell, masker)
        for name in _OUTPUTS:
            if isinstance(data := said.get(name, {}).get("data"), str):
                report.add(data.encode("utf-8", "replace"))
        if (ended := said.get("terminal_exit")) is not None:
            code, signal = ended.get("exit_code"), ended.get("signal")
            del self._reports[key]
            report.end(code if type(code) is int else None, signal if isinstance(signal, str) else None)

    def close(self) -> None:
        """The agent has ended, and its commands with it."""
        while self._reports:
            self._end_oldest()

    def _begin(
        self, key: tuple[str, str], update: dict[str, Any], info: dict[str, Any], tell: Tell, masker: Masker
    ) -> Report:
        if len(self._reports) >= _AT_ONCE:
            self._end_oldest()
        title, cwd = update.get("title"), info.get("cwd")
        command = title if isinstance(title, str) else key[1]
        tell(TerminalStarted(terminal_id=key[1], command=command, cwd=cwd if isinstance(cwd, str) else None))
        report = self._reports[key] = Report(key[1], tell, masker)
        return report

    def _end_oldest(self) -> None:
        self._reports.pop(next(iter(self._reports))).end(None, None)
