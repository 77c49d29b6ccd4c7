"""Logins that agents run themselves (ACP's `authenticate`): what they print, and how they end, is told."""

import asyncio
import contextlib
import logging
import re
from typing import Any

import attrs

from gateway.agenthost.agents import Agents
from gateway.agenthost.errors import AgentFailed
from gateway.agenthost.journal import Journal
from gateway.agenthost.link import AgentLink
from gateway.agenthost.settings import AgentHostConfig
from gateway.agenthost.slots import Agent
from gateway.errors import GatewayError
from gateway.tasks import Tasks, running

logger = logging.getLogger(__name__)

#: Seconds in which a person has to log in.
LOGIN_SECONDS = 900.0
#: Seconds after which the answer is given, with what the agent has printed by then.
FIRST_WORDS = 10.0
#: Seconds between two looks at what it prints, and characters of it that are told.
_LOOK, _SHOWN = 0.2, 2000
_ADDRESS = re.compile(r"https?://[^\s\"'<>`|]+[^\s\"'<>`|.,;:)\]]")
_CODE = re.compile(r"\b[A-Z0-9]{4,5}-[A-Z0-9]{4,5}\b")


@attrs.define(eq=False)
class Login:
    """One login of an agent."""

    #: What the agent has printed.
    text: str = ""
    error: str | None = None
    is_over: bool = False
    succeeded: bool = False
    #: Set when there is an address or the end.
    has_news: asyncio.Event = attrs.field(factory=asyncio.Event)

    def describe(self) -> dict[str, Any]:
        """For `auth/init` and `auth/status`."""
        address, code = _ADDRESS.search(self.text), _CODE.search(self.text)
        told: dict[str, Any] = {"message": self.error or self.text or "the agent has begun its login"}
        if address:
            told["authUrl"] = address[0]
        if code:
            told["userCode"] = code[0]
        return told


class Logins:
    """At most one login of each agent at a time."""

    def __init__(self, agents: Agents, journal: Journal, tasks: Tasks, config: AgentHostConfig) -> None:
        self._agents = agents
        self._journal = journal
        self._tasks = tasks
        self._config = config
        self._newest: dict[str, Login] = {}

    def newest(self, agent: Agent) -> Login | None:
        return self._newest.get(agent.spec.id)

    async def begin(self, agent: Agent) -> Login:
        """The agent's login, once it has printed an address, or ended, or some seconds have passed."""
        login = self.newest(agent)
        if login is None or login.is_over:
            login = self._newest[agent.spec.id] = Login()
            self._tasks.start(self._run(agent, login), name=f"login of {agent.spec.id}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WORDS):
                await login.has_news.wait()
        return login

    async def _run(self, agent: Agent, login: Login) -> None:
        slot = self._agents.own_slot(agent, None, {}, self._config.workspace)
        needed = agent.needs_auth
        try:
            link = await self._agents.process(agent, slot)
            async with running({f"tell the login of {agent.spec.id}": self._watch(agent, link, login)}):
                await self._authenticate(agent, link)
                login.succeeded = True
        except GatewayError as exc:
            login.error = str(exc)
        except asyncio.CancelledError:
            login.error = f"{agent.spec.id}: the login was given up"
            raise
        except Exception:  # The login has failed for a reason that nobody foresaw. Its user is told so.
            logger.exception("login failed", extra={"agent": agent.spec.id})
            login.error = f"{agent.spec.id}: the login has failed"
        finally:
            login.is_over = True
            login.has_news.set()
            await self._agents.give_up(agent, slot)
            if login.succeeded:
                await self._agents.logged_in(agent)
            else:
                # The process that ran it has started, which shows nothing of the account.
                agent.needs_auth = needed
                self._tell(agent, login.error)

    async def _authenticate(self, agent: Agent, link: AgentLink) -> None:
        offered = [one.get("id") for one in link.agent.get("authMethods") or () if isinstance(one, dict)]
        if agent.spec.login not in offered:
            known = ", ".join(map(str, offered)) or "none"
            raise AgentFailed(f"{agent.spec.id}: does not offer the login {agent.spec.login} (it offers: {known})")
        await link.request("authenticate", {"methodId": agent.spec.login}, timeout=LOGIN_SECONDS)

    async def _watch(self, agent: Agent, link: AgentLink, login: Login) -> None:
        """Keep what the agent prints, and tell that there is a new address or code, but not which: they are for the
        person alone who logs in."""
        told: list[str | None] = [None, None]
        while True:
            login.text = link.printed()[-_SHOWN:]
            found = [one and one[0] for one in (_ADDRESS.search(login.text), _CODE.search(login.text))]
            if found != told:
                told = found
                self._tell(agent, None)
                if found[0]:
                    login.has_news.set()
            await asyncio.sleep(_LOOK)

    def _tell(self, agent: Agent, error: str | None) -> None:
        data = {"agentId": agent.spec.id} | ({} if error is None else {"message": error})
        self._journal.append("auth_required", data, agent_id=agent.spec.id, to_all=True)
