"""Media types, as ``Content-Type`` names them (RFC 9110 8.3)."""

from typing import Final

#: The longest that RFC 6838 4.2 allows.
MAX_MEDIA_TYPE: Final = 255


def media_type(field: str | None) -> str:
    """Without its parameters, in lower case; "" where there is none.

    aiohttp has the standard library's reader of mail do this, which takes seconds for 8 KB that a stranger can choose.
    """
    return (field or "").partition(";")[0][:MAX_MEDIA_TYPE].strip().lower()
