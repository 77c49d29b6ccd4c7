"""Media types, as ``Content-Type`` names them (RFC 9110 8.3)."""

from typing import Final

#: The longest that RFC 6838 4.2 allows.
MAX_MEDIA_TYPE: Final = 255


def media_type(field: str | None) -> str:
    """Without parameters, in lower case; "" if there is none.

    aiohttp uses the standard library's mail parser, which takes seconds for a hostile field of 8 KB.
    """
    return (field or "").partition(";")[0][:MAX_MEDIA_TYPE].strip().lower()
