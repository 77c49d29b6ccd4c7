"""Members of projects and their roles."""

from urllib.parse import quote

import attrs
from aiohttp import web

from gateway.administration.room import ADMINISTRATION
from gateway.errors import InsufficientRole, InvalidParameter
from gateway.identity.caller import flaw_of_user_id
from gateway.identity.roles import Role, RoleWord
from gateway.identity.room import IDENTITY
from gateway.web.handlers import shapes, views
from gateway.web.handlers.requests import read_body
from gateway.web.keys import CALLER, PROJECT, ROLE, USER


@attrs.frozen(kw_only=True)
class MemberBody:
    """Body of ``PUT …/members/{userId}``."""

    role: RoleWord


async def list_all(request: web.Request) -> web.Response:
    """The project's owner and members."""
    found = await request.app[IDENTITY].members.list_all(request[PROJECT].id)
    return views.answer(shapes.MemberList(members=[views.member(one) for one in found]))


async def get(request: web.Request) -> web.Response:
    """One member."""
    return views.answer(views.member(await request.app[IDENTITY].members.get(request[PROJECT].id, _user_id(request))))


async def put(request: web.Request) -> web.Response:
    """Add a member, or change their role."""
    user_id = _user_id(request)
    body = await read_body(request, MemberBody)
    membership = request.app[ADMINISTRATION].membership
    member, is_new = await membership.put(request[PROJECT].id, user_id, Role.named(body.role), by=request[USER])
    location = {"Location": f"/api/projects/{request[PROJECT].id}/members/{quote(user_id, safe='')}"}
    return views.answer(views.member(member), status=201 if is_new else 200, headers=location if is_new else None)


async def remove(request: web.Request) -> web.Response:
    """Remove a member: admins anybody, others themselves."""
    user_id = _user_id(request)
    # A read-only credential cannot remove even its own user.
    leaves = user_id == request[USER] and request[CALLER].max_role > Role.VIEWER
    if not leaves and request[ROLE] < Role.ADMIN:
        raise InsufficientRole("Admins may remove anybody, others themselves.", role=request[ROLE].word, needed="admin")
    await request.app[ADMINISTRATION].membership.remove(request[PROJECT].id, user_id, by=request[USER])
    return web.Response(status=204)


def _user_id(request: web.Request) -> str:
    user_id = request.match_info["user_id"]
    flaw = flaw_of_user_id(user_id)
    if flaw is not None:
        raise InvalidParameter(f"{user_id[:100]!r} is not a valid user id: {flaw}.")
    return user_id
