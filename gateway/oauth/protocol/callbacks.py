"""What a browser brings back from a provider, or a user pastes: an address, ``code#state``, or a code."""

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

import attrs

#: Longer than any provider's response.
MAX_PASTED = 8192
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"[\x21-\x7e]+")
_KNOWN = ("code", "state", "iss", "error", "error_description")


class UnreadableCallback(ValueError):
    """This is not a provider's response; ``str()`` says what is wrong and what would be right."""


@attrs.frozen(kw_only=True)
class Callback:
    """A provider's response to a login: a code or an error, with its state."""

    code: str | None = attrs.field(default=None, repr=False)
    error: str | None = None
    error_description: str = ""
    state: str | None = attrs.field(default=None, repr=False)
    iss: str | None = None

    @classmethod
    def of_query(cls, pairs: Sequence[tuple[str, str]]) -> "Callback":
        """From the query parameters of the redirect."""
        told: dict[str, str] = {}
        for name, value in pairs:
            if name not in _KNOWN:
                continue
            if name in told:
                # RFC 6749 3.1: parameters must not be repeated. An attacker may hope that another one is checked.
                raise UnreadableCallback(f"{name} comes more than once")
            told[name] = value
        answer = cls(
            code=told.get("code") or None,
            error=told.get("error") or None,
            error_description=told.get("error_description", ""),
            state=told.get("state") or None,
            iss=told.get("iss"),
        )
        if answer.code is not None and answer.error is not None:
            raise UnreadableCallback("it has both a code and an error")
        if answer.code is None and answer.error is None:
            raise UnreadableCallback("it has neither a code nor an error")
        return answer

    @classmethod
    def of_pasted(cls, text: str) -> "Callback":
        """From pasted text; spaces and line breaks from copying are removed."""
        if len(text) > MAX_PASTED:
            raise UnreadableCallback(f"it is longer than {MAX_PASTED} characters")
        text = _SPACES.sub("", text).strip("\"'<>")
        if not text:
            raise UnreadableCallback("it is empty")
        if not _WORD.fullmatch(text):
            raise UnreadableCallback("it has characters that no code and no address has")
        if re.match(r"https?://", text, re.IGNORECASE):
            return cls._of_address(text)
        if text.lstrip("?").startswith(("code=", "error=", "state=")):
            return cls.of_query(_pairs(text.lstrip("?")))
        code, _, state = text.partition("#")
        if not code or "#" in state:
            raise UnreadableCallback("it is neither an address, nor a code, nor code#state")
        return cls(code=code, state=state or None)

    @classmethod
    def _of_address(cls, text: str) -> "Callback":
        try:
            parts = urlsplit(text)
        except ValueError:
            raise UnreadableCallback("it is no address") from None
        if not parts.query:
            raise UnreadableCallback(
                "the address has no code in it; copy all of it, from where the browser ended after the login"
            )
        return cls.of_query(_pairs(parts.query))


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise UnreadableCallback("it has too many parameters") from None
