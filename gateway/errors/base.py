"""Where all errors come from."""

from collections.abc import Mapping
from typing import Any, ClassVar


class GatewayError(Exception):
    """The gateway could not do this."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any):
        """``detail`` says what was wrong here; ``members`` are extra members of the problem document."""
        super().__init__(detail or self.title())
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]
