"""Somebody who connects an account: what they do, and what they get to see."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

import attrs
import psycopg2

from gateway.credentials.room import CREDENTIALS
from gateway.credentials.store import AgentAuthToken
from gateway.errors import GatewayError
from gateway.oauth.room import OAUTH
from gateway.web.keys import CONFIG
from gateway.wire.times import parse_timestamp
from tests.fakes.eventually import until
from tests.fakes.provider import FakeProvider
from tests.world import Answer, Gateway, Project, data_of


@attrs.frozen
class Page:
    """A page as a browser shows it."""

    answer: Answer
    url: str

    @property
    def text(self) -> str:
        return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", self.answer.body.decode())).split())


class Person:
    """A user of a project, who has an account at a provider."""

    def __init__(self, project: Project, provider: FakeProvider, agent: str = "demo") -> None:
        self.project = project
        self.provider = provider
        self.agent = agent

    @property
    def gateway(self) -> Gateway:
        return self.project.gateway

    async def call(self, method: str, what: str, body: Any = None, **options: Any) -> Answer:
        return await self.project.call(method, f"/agents/{self.agent}/auth{what}", body, **options)

    async def start(self, **body: Any) -> dict[str, Any]:
        answer = await self.call("POST", "/start", body)
        assert answer.status == 200, answer.body
        told: dict[str, Any] = answer.json
        return told

    async def status(self) -> dict[str, Any]:
        answer = await self.call("GET", "/status")
        assert answer.status == 200, answer.body
        told: dict[str, Any] = answer.json
        return told

    async def state(self) -> str:
        state: str = (await self.status())["state"]
        return state

    async def becomes(self, *states: str) -> dict[str, Any]:
        """The status, once its state is one of these."""

        async def reached() -> bool:
            return await self.state() in states

        await until(reached)
        return await self.status()

    async def browse(self, url: str, **headers: str) -> Page:
        """Go to an address of the gateway as a browser does, and to where it sends one on."""
        path = url.removeprefix(self.gateway.url)
        answer = await self.gateway.call("GET", path, headers=headers)
        while answer.status == 303:
            url = urljoin(url, answer.headers["Location"])
            assert not urlsplit(url).query
            answer = await self.gateway.call("GET", url.removeprefix(self.gateway.url), headers=headers)
        return Page(answer, url)

    async def log_in(self, **changes: str | None) -> Page:
        """The whole login in the browser."""
        begun = await self.start(flow="pkce")
        return await self.browse(self.provider.log_in(begun["authorizeUrl"], **changes))

    async def connected(self) -> dict[str, Any]:
        """Log in, and see the account."""
        await self.log_in()
        status = await self.status()
        assert status["state"] == "authorized", status
        return status

    async def paste(self, code: str, **members: Any) -> Answer:
        return await self.call("POST", "/callback", {"code": code, **members})

    async def secrets(self) -> tuple[str, str | None] | None:
        """What the gateway has stored, opened."""
        credentials = self.gateway.app[CREDENTIALS].store
        token = await credentials.get_agent_auth_token("local", self.agent)
        if token is None:
            return None
        return credentials.open_access_token(token), credentials.open_refresh_token(token)

    async def fresh(self) -> AgentAuthToken:
        """What the gateway would give the agent now."""
        return await self.gateway.app[OAUTH].refresher.fresh("local", self.agent)

    def age(self, *, expires_in: float | None) -> None:
        """Let the account be an hour old, and end in so many seconds."""
        self.rows(
            "update agent_auth_tokens set updated_at = now() - interval '1 hour', "
            "expires_at = clock_timestamp() + make_interval(secs => %s) where agent_id = %s returning 1",
            expires_in,
            self.agent,
        )

    async def becomes_due_again(self, state: str) -> None:
        """Need the account again and again, until its state is this one."""

        async def reached() -> bool:
            with suppress(GatewayError):
                await self.fresh()
            return await self.state() == state

        await until(reached)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement of the test's own gives, past the gateway."""
        connection = psycopg2.connect(self.gateway.app[CONFIG].database.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
        finally:
            connection.close()

    @staticmethod
    def seconds_until(text: str) -> float:
        at = parse_timestamp(text)
        assert at is not None
        return (at - datetime.now(UTC)).total_seconds()

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """What the project's log says, in order."""
        events = []
        async with self.project.events(query="?from=start") as stream:
            # Of an agent that needs nobody's account: the event is the end of what there was.
            await self.project.create_session(agentId="opencode")
            for event in await stream.until("session_created"):
                events.append((event.event, data_of(event)))
        return events
