"""Signs a browser in by a link, which is valid once, for 15 minutes.

The link is exchanged for an API token and a cookie, which are valid only together. The page stores the token where only
its own origin can read it, and sends it with each call, which prevents cross-site request forgery. The cookie is
HttpOnly. A browser sends cookies to every port of a host, so another server there learns only half of the credential.
"""

import secrets
from typing import Final

import attrs

from gateway.db.pool import Database
from gateway.identity.tokens import Token, digest_of, new_text, new_token_id

LINK_SECONDS: Final = 900
#: 30 days.
BROWSER_SECONDS: Final = 2_592_000
MAX_LINK: Final = 100
NAME: Final = "browser, by a link"


@attrs.frozen(kw_only=True)
class SignedIn:
    """What a link was exchanged for."""

    token: Token
    #: The token's secret text, and the cookie that goes with it.
    text: str = attrs.field(repr=False)
    cookie: str = attrs.field(repr=False)


class SignIns:
    """Sign-in links and signed-in browsers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, user_id: str) -> str:
        """A link for this user: the part after ``#sign-in=`` of the console's address."""
        link = secrets.token_urlsafe(32)
        await self._database.execute(
            "insert_sign_in_link", digest=digest_of(link), user_id=user_id, seconds=LINK_SECONDS
        )
        return link

    async def exchange(self, link: str) -> SignedIn | None:
        """None if the link is invalid, used or expired."""
        if len(link) > MAX_LINK:
            return None
        text, cookie = new_text(), secrets.token_urlsafe(32)
        row = await self._database.fetch_one(
            "exchange_sign_in_link",
            link=digest_of(link),
            id=new_token_id(),
            name=NAME,
            digest=digest_of(text),
            cookie=digest_of(cookie),
            seconds=BROWSER_SECONDS,
        )
        return None if row is None else SignedIn(token=Token.from_row(row), text=text, cookie=cookie)

    async def end(self, token_id: str) -> bool:
        """Sign the browser with this token out; False if it is not a browser's token."""
        return await self._database.fetch_one("revoke_browser", id=token_id) is not None

    async def end_all(self) -> None:
        """Sign all browsers out."""
        await self._database.execute("revoke_browsers")


def address_of(base: str, link: str) -> str:
    """The address to open. Browsers do not send the part after #, so it is in no log and no ``Referer``."""
    return f"{base}/console#sign-in={link}"
