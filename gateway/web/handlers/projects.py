"""Projects: registered, listed, changed, removed."""

from typing import Any, Final

import attrs
from aiohttp import web

from gateway.administration.room import ADMINISTRATION
from gateway.credentials.vault import Sealed
from gateway.errors import InvalidBody, ProjectCreationDenied
from gateway.identity.roles import Role
from gateway.projects.room import PROJECTS
from gateway.projects.store import (
    Address,
    AgentId,
    ContainerToken,
    NewProject,
    OpencodePassword,
    OpencodeUsername,
    PermissionMode,
    PermissionRules,
    PermissionTimeout,
    Project,
    ProjectName,
    Retention,
    acp_upstream,
)
from gateway.proxy.policy import ForbiddenAddress
from gateway.proxy.upstream import Upstream
from gateway.web.handlers import shapes, views
from gateway.web.handlers.parameters import AFTER
from gateway.web.handlers.requests import known_place, page_size, read_body, text
from gateway.web.keys import CALLER, CONFIG, PROJECT, ROLE, SETTINGS, USER

_UNCHANGED: Final[Any] = object()
#: In identity.project_creators.
EVERYBODY: Final = "*"
_ADDRESSES = (("container_url", "containerUrl"), ("acp_url", "acpUrl"))


@attrs.frozen(kw_only=True)
class ProjectChanges:
    """Body of ``PATCH /api/projects/{id}``: absent members stay, null removes."""

    name: ProjectName = _UNCHANGED
    container_url: Address = _UNCHANGED
    acp_url: Address | None = _UNCHANGED
    default_agent_id: AgentId | None = _UNCHANGED
    retention: Retention | None = _UNCHANGED
    permission_mode: PermissionMode = _UNCHANGED
    permission_rules: PermissionRules = _UNCHANGED
    permission_timeout: PermissionTimeout | None = _UNCHANGED
    record_opencode_events: bool = _UNCHANGED
    container_token: ContainerToken | None = attrs.field(default=_UNCHANGED, repr=False)
    opencode_username: OpencodeUsername | None = _UNCHANGED
    opencode_password: OpencodePassword | None = attrs.field(default=_UNCHANGED, repr=False)

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in attrs.asdict(self, recurse=False).items() if value is not _UNCHANGED}


async def create(request: web.Request) -> web.Response:
    """Register a project, with a chosen or a generated id."""
    _check_creator(request)
    new = await read_body(request, NewProject)
    _check(attrs.asdict(new, recurse=False))
    _check_mapping(request, new)
    await _check_reachable(request, attrs.asdict(new, recurse=False))
    created = await request.app[ADMINISTRATION].registration.create(request[USER], new)
    # For the audit.
    request[PROJECT] = created
    shown = views.project(created, Role.ADMIN)
    return views.answer(shown, status=201, headers={"Location": f"/api/projects/{created.id}"})


async def list_all(request: web.Request) -> web.Response:
    """The projects that the caller owns or is a member of, oldest first."""
    size, caller = page_size(request), request[CALLER]
    after = text(request, AFTER)
    if after is not None:
        # Do not reveal projects that the credential may not see.
        await known_place(request.app[PROJECTS].store.get(caller.user_id, after if caller.may_see(after) else ""))
    found = await request.app[PROJECTS].store.page(caller.user_id, only=caller.projects, after=after, limit=size + 1)
    shown = [views.project(one.project, min(one.role, caller.max_role)) for one in found]
    page, after = views.listed(shown, size)
    return views.answer(shapes.ProjectPage(projects=page, next=after))


async def get(request: web.Request) -> web.Response:
    """One project."""
    return views.answer(views.project(request[PROJECT], request[ROLE]))


async def update(request: web.Request) -> web.Response:
    """Change a project's settings."""
    changes = (await read_body(request, ProjectChanges)).given()
    _check(changes)
    if not changes:
        return views.answer(views.project(request[PROJECT], request[ROLE]))
    addresses = {name: changes[name] for name, _ in _ADDRESSES if name in changes}
    moved = attrs.evolve(request[PROJECT], **addresses)
    if moved != request[PROJECT]:
        # A new container needs the same rights as registering one.
        request[CALLER].check_reach(Role.ADMIN)
        _check_creator(request)
    _check_mapping(request, moved)
    if moved.acp_address != request[PROJECT].acp_address and "container_token" not in changes:
        _refuse_to_move("containerToken", moved.sealed_container_token)
    if moved.container_url != request[PROJECT].container_url and "opencode_password" not in changes:
        _refuse_to_move("opencodePassword", moved.sealed_opencode_password)
    await _check_reachable(request, changes)
    changed = await request.app[ADMINISTRATION].registration.change(request[USER], request[PROJECT].id, changes)
    return views.answer(views.project(changed, request[ROLE]))


async def delete(request: web.Request) -> web.Response:
    """Remove a project with its sessions, log and messages."""
    await request.app[ADMINISTRATION].registration.remove(request[USER], request[PROJECT].id)
    return web.Response(status=204)


def _check_creator(request: web.Request) -> None:
    creators = request.app[SETTINGS].config.identity.project_creators
    if EVERYBODY not in creators and request[USER] not in creators:
        raise ProjectCreationDenied(
            f"identity.project_creators lists who may register containers on this gateway, and {request[USER]!r} is "
            "not among them."
        )


def _check(values: dict[str, Any]) -> None:
    for name, member in _ADDRESSES:
        if values.get(name) is not None:
            _check_address(values[name], member)


def _check_address(text: str, member: str) -> None:
    try:
        Upstream.parse(text)
    except ValueError as exc:
        raise InvalidBody(f"$.{member}: {exc}") from exc


def _refuse_to_move(member: str, secret: Sealed | None) -> None:
    """Nobody learns a container's secret by moving the project to a container of their own."""
    if secret is not None:
        raise InvalidBody(
            f"$.{member}: the stored one belongs to the former address; send the one of the new address, or null "
            "if it has none"
        )


async def _check_reachable(request: web.Request, values: dict[str, Any]) -> None:
    """Refuse an address that the policy forbids to connect to."""
    for name, member in _ADDRESSES:
        if values.get(name) is not None:
            try:
                await request.app[PROJECTS].client.check(Upstream.parse(values[name]))
            except ForbiddenAddress as exc:
                raise InvalidBody(f"$.{member}: {exc}") from exc


def _check_mapping(request: web.Request, project: Project | NewProject) -> None:
    port = acp_upstream(project, request.app[CONFIG].containers).port
    if not 0 < port < 65536:
        raise InvalidBody(f"$.containerUrl: its ACP port would be {port}, which is not a port; send acpUrl as well")
