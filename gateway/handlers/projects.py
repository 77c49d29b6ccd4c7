"""Projects: registered, listed, changed, removed."""

import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
from aiohttp import web

from gateway.errors import InvalidBody, RoleTooSmall
from gateway.handlers import views
from gateway.handlers.requests import known_place, limit, parameter, read_body
from gateway.keys import CALLER, CLIENT, CONFIG, FOLLOWERS, PROJECT, PROJECTS, ROLE, TASKS, USER
from gateway.projects import (
    ANY_KIND,
    PERMISSION_MODES,
    RULE_ACTIONS,
    TOOL_KINDS,
    NewProject,
    PermissionRule,
    Project,
    Retention,
    acp_upstream,
)
from gateway.proxy.policy import ForbiddenAddress
from gateway.proxy.upstream import Upstream
from gateway.roles import Role

_ID = re.compile(r"[a-z0-9-]{1,64}")
_UNCHANGED: Final[Any] = object()
MAX_NAME = 200
MAX_DAYS, MAX_BYTES = 36_500, 2**60
MAX_RULES = 100
MAX_TIMEOUT_SECONDS = 604_800
MAX_TOKEN = 4096
_TOKEN = re.compile(rf"[!-~]{{1,{MAX_TOKEN}}}")
_ADDRESSES = (("container_url", "containerUrl"), ("acp_url", "acpUrl"))


@attrs.frozen(kw_only=True)
class ProjectChanges:
    """What ``PATCH /api/projects/{id}`` takes; what is left out stays, null takes away."""

    name: str = _UNCHANGED
    container_url: str = _UNCHANGED
    acp_url: str | None = _UNCHANGED
    default_agent_id: str | None = _UNCHANGED
    retention: Retention | None = _UNCHANGED
    permission_mode: str = _UNCHANGED
    permission_rules: list[PermissionRule] = _UNCHANGED
    permission_timeout: float | None = _UNCHANGED
    container_token: str | None = attrs.field(default=_UNCHANGED, repr=False)

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in attrs.asdict(self, recurse=False).items() if value is not _UNCHANGED}


async def create(request: web.Request) -> web.Response:
    """Register a project under an id of its maker's choice, or a made one."""
    if request[CALLER].max_role < Role.ADMIN or request[CALLER].projects is not None:
        raise RoleTooSmall(
            "This credential is limited to less than an admin, or to some projects: it makes no new one."
        )
    new = await read_body(request, NewProject)
    _check(attrs.asdict(new, recurse=False))
    _check_mapping(request, new)
    await _check_reachable(request, attrs.asdict(new, recurse=False))
    created = await request.app[TASKS].complete(request.app[PROJECTS].create(request[USER], new), name="create project")
    shown = views.project(created, Role.ADMIN)
    return views.answer(shown, status=201, headers={"Location": f"/api/projects/{created.id}"})


async def list_all(request: web.Request) -> web.Response:
    """The projects that the asker owns or is a member of, oldest first."""
    size, caller = limit(request), request[CALLER]
    after = parameter(request, "after")
    if after is not None:
        # Of what a credential does not show it does not tell either that it exists.
        await known_place(request.app[PROJECTS].get(caller.user_id, after if caller.may_see(after) else ""))
    found = await request.app[PROJECTS].page(caller.user_id, only=caller.projects, after=after, limit=size + 1)
    shown = [views.project(one.project, min(one.role, caller.max_role)) for one in found]
    return views.answer(views.listed("projects", shown, size))


async def get(request: web.Request) -> web.Response:
    """One project."""
    return views.answer(views.project(request[PROJECT], request[ROLE]))


async def update(request: web.Request) -> web.Response:
    """Change a project's name, addresses, default agent, retention, or what is answered without asking anybody."""
    changes = (await read_body(request, ProjectChanges)).given()
    _check(changes)
    if not changes:
        return views.answer(views.project(request[PROJECT], request[ROLE]))
    addresses = {name: changes[name] for name, _ in _ADDRESSES if name in changes}
    moved = attrs.evolve(request[PROJECT], **addresses)
    _check_mapping(request, moved)
    if moved.acp_address != request[PROJECT].acp_address and "container_token" not in changes:
        _refuse_to_move_secret(moved)
    await _check_reachable(request, changes)
    work = _change(request.app, request[USER], request[PROJECT].id, changes)
    changed = await request.app[TASKS].complete(work, name="change project")
    return views.answer(views.project(changed, request[ROLE]))


async def delete(request: web.Request) -> web.Response:
    """Remove a project with its sessions, log and messages."""
    await request.app[TASKS].complete(_remove(request.app, request[USER], request[PROJECT].id), name="delete project")
    return web.Response(status=204)


async def _change(app: web.Application, user_id: str, project_id: str, changes: dict[str, Any]) -> Project:
    changed, moved = await app[PROJECTS].update(user_id, project_id, changes)
    if moved:
        # Who follows the former container must not pass for a follower of this one.
        await app[FOLLOWERS].leave(project_id)
    return changed


async def _remove(app: web.Application, user_id: str, project_id: str) -> None:
    await app[PROJECTS].delete(user_id, project_id)
    # Who follows the old container must not pass for a follower of a new project of this id.
    await app[FOLLOWERS].leave(project_id)


def _check(values: dict[str, Any]) -> None:
    if values.get("id") is not None and not _ID.fullmatch(values["id"]):
        raise InvalidBody("$.id: must be 1 to 64 of a-z, 0-9 and -")
    if values.get("name") is not None and not 1 <= len(values["name"]) <= MAX_NAME:
        raise InvalidBody(f"$.name: must have 1 to {MAX_NAME} characters")
    if values.get("default_agent_id") == "":
        raise InvalidBody("$.defaultAgentId: must not be empty; null takes it away")
    for name, member in _ADDRESSES:
        if values.get(name) is not None:
            _check_address(values[name], member)
    if values.get("retention") is not None:
        _check_retention(values["retention"])
    if values.get("container_token") is not None and not _TOKEN.fullmatch(values["container_token"]):
        raise InvalidBody(
            f"$.containerToken: must be 1 to {MAX_TOKEN} printable ASCII characters without spaces; null takes it away"
        )
    _check_permissions(values)


def _check_retention(rule: Retention) -> None:
    for member, value, most in (("maxAgeDays", rule.max_age_days, MAX_DAYS), ("maxBytes", rule.max_bytes, MAX_BYTES)):
        if value is not None and not 1 <= value <= most:
            raise InvalidBody(f"$.retention.{member}: must be from 1 to {most}; null deletes nothing for it")


def _check_permissions(values: dict[str, Any]) -> None:
    _check_word(values.get("permission_mode"), "permissionMode", PERMISSION_MODES)
    rules = values.get("permission_rules") or []
    if len(rules) > MAX_RULES:
        raise InvalidBody(f"$.permissionRules: must have at most {MAX_RULES} entries")
    for index, rule in enumerate(rules):
        _check_word(rule.kind, f"permissionRules[{index}].kind", (ANY_KIND, *TOOL_KINDS))
        _check_word(rule.action, f"permissionRules[{index}].action", RULE_ACTIONS)
    seconds = values.get("permission_timeout")
    if seconds is not None and not 1 <= seconds <= MAX_TIMEOUT_SECONDS:
        raise InvalidBody(
            f"$.permissionTimeout: must be 1 to {MAX_TIMEOUT_SECONDS} seconds; null is the gateway's own setting"
        )


def _check_word(word: str | None, place: str, known: Sequence[str]) -> None:
    if word is not None and word not in known:
        raise InvalidBody(f"$.{place}: must be one of {', '.join(known)}")


def _check_address(text: str, member: str) -> None:
    try:
        Upstream.parse(text)
    except ValueError as exc:
        raise InvalidBody(f"$.{member}: {exc}") from exc


def _refuse_to_move_secret(project: Project) -> None:
    """A secret stays with the container that it is of: nobody gets to see it by moving the project to one of theirs."""
    if project.sealed_container_token is not None:
        raise InvalidBody(
            "$.containerToken: the stored one belongs to the former address; give that of the new address with it, "
            "or null where it has none"
        )


async def _check_reachable(request: web.Request, values: dict[str, Any]) -> None:
    """Refuse an address that no connection would be made to, rather than let it be found out later."""
    for name, member in _ADDRESSES:
        if values.get(name) is not None:
            try:
                await request.app[CLIENT].check(Upstream.parse(values[name]))
            except ForbiddenAddress as exc:
                raise InvalidBody(f"$.{member}: {exc}") from exc


def _check_mapping(request: web.Request, project: Project | NewProject) -> None:
    port = acp_upstream(project, request.app[CONFIG].containers).port
    if not 0 < port < 65536:
        raise InvalidBody(f"$.containerUrl: its ACP port would be {port}, which no port is; name the acpUrl as well")
