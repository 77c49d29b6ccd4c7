"""The agent host as an application: the container contract (`docs/container-contract.md`) with all capabilities.

It speaks the container's contract on 4097, both parts, and finds out from each call which part its client knows.
What a client has to ask for, so that one that knows only the base contract works unchanged:

- `POST /session/{id}/prompt` answers 202 `{id, turnId}` at once where the request says `Prefer: respond-async`
  (RFC 7240). Without it the answer comes when the turn is over, `{id, status: "processing", turnId, stopReason}`, or
  an error with the turn's end in `data`. `session_end_turn` is sent in both cases. A client may choose the turn's id
  (`turnId` in the body, capability `turn-ids`): a prompt that is sent again under the id of one of the last turns is
  not run again. `session_begin_turn` `{turnId, prompt}` tells its beginning; `prompt` is null if it is long.
- `POST /permission/{id}` takes `{optionId}` or `{cancelled: true}`; and `{granted}`, which is the option of kind
  `allow_once` or `reject_once`, wherever it stands in the list.
- `GET /events` with `Last-Event-ID` replays; without, it begins with what comes next. `<bootId>-0` is the beginning.

Beside the contract's events there are `permission_resolved` `{requestId, outcome, reason}`; `session_restored` `{how,
reason, acpSessionId}` where another process has taken a session up, how being `load`, `resume` or `new` (which has
forgotten the conversation); `agent_notification` `{method, params}` for what an agent tells beside `session/update`;
and `agent_output_lost` `{bytes, text}` for a message that cannot be read.

`POST /session/{id}/load` takes `{agentId, acpSessionId, workingDirectory?, env?, mcpServers?}` for a session from
before this host's start, so that it goes on, under the id it had or another; `how` in the answer is `load`, or `resume`
where the agent can only do that. 501 where it can neither. What the agent tells again while it loads is no event,
unless the body says `replay: true`.

`POST /session` and `…/load` take a `reference` (capability `references`), the client's own name for the session;
`GET /sessions` has it.

A credential that is one person's (capability `credentials`) comes with `POST /session`, `…/spawn` and `…/load` as
`credential`, `{owner, version, env, unset, authenticate: {methodId, meta} | null, files: [{variable, path, content,
mode}]}`. The owner is an opaque name. Processes are kept apart by it, and one without a credential is never given
anybody's. `POST /agents/{id}/credential` takes a newer one; `process` in its answer tells what that meant: `replaced`,
`after_turn`, `kept` for the next process, or `known` where it is not newer. Sessions follow with their next prompt
(`session_restored` with reason `credential_renewed`). `DELETE /agents/{id}/credential/{owner}` ends all that runs with
it. An `auth_required` event of such a process names the `owner`.

It answers by names of its own alone, and no web page (`browsers.py`): 403 `forbidden`, whatever the call.

Secrets that a process was given are masked, `***`, in all that it tells.

Errors are the envelope with a `code` beside `error`; a second answer to a permission has the outcome in `data`.
"""

from collections.abc import AsyncIterator, Callable

from aiohttp import web

from gateway.agenthost import handlers
from gateway.agenthost.answers import bearer, errors
from gateway.agenthost.browsers import browsers
from gateway.agenthost.handlers import HOST
from gateway.agenthost.host import AgentHost
from gateway.agenthost.settings import AgentHostConfig
from gateway.errors import ConfigError

__all__ = ["HOST", "AgentHostConfig", "build_app"]


def build_app(config: AgentHostConfig) -> web.Application:
    """The application. It owns the processes that it starts, and ends them on shutdown."""
    around = [errors, browsers(config), bearer(config.token)]
    app = web.Application(middlewares=around, client_max_size=config.body_limit)
    app.add_routes(
        [
            web.get("/health", handlers.health),
            web.get("/info", handlers.info),
            web.get("/agents", handlers.list_agents),
            web.post("/agents/{agent_id}/spawn", handlers.spawn_agent),
            web.post("/agents/{agent_id}/stop", handlers.stop_agent),
            web.get("/agents/{agent_id}/status", handlers.agent_status),
            web.post("/agents/{agent_id}/credential", handlers.renew_credential),
            web.delete("/agents/{agent_id}/credential/{owner}", handlers.withdraw_credential),
            web.post("/agents/{agent_id}/auth/init", handlers.begin_auth),
            web.get("/agents/{agent_id}/auth/status", handlers.auth_status),
            web.post("/agents/{agent_id}/auth/token", handlers.take_token),
            web.post("/session", handlers.create_session),
            web.get("/sessions", handlers.list_sessions),
            web.get("/session/{session_id}", handlers.get_session),
            web.delete("/session/{session_id}", handlers.delete_session),
            web.post("/session/{session_id}/prompt", handlers.prompt),
            web.post("/session/{session_id}/cancel", handlers.cancel),
            web.post("/session/{session_id}/mode", handlers.set_mode),
            web.post("/session/{session_id}/config", handlers.set_config),
            web.post("/session/{session_id}/load", handlers.load_session),
            web.post("/permission/{request_id}", handlers.answer_permission),
            web.get("/events", handlers.events, allow_head=False),
            web.get("/events/{session_id}", handlers.events, allow_head=False),
        ]
    )
    app.cleanup_ctx.append(_host(config))
    app.on_shutdown.append(_close)
    return app


def _host(config: AgentHostConfig) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        if not config.workspace.is_dir():
            raise ConfigError(f"the workspace {config.workspace} is not a directory")
        app[HOST] = host = AgentHost(config)
        yield
        await host.close()

    return context


async def _close(app: web.Application) -> None:
    # Before the server waits for its handlers, since streams and prompts end with the host.
    await app[HOST].close()
