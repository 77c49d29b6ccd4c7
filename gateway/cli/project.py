"""``acp-gateway project register | move``: for operators, directly in the database; the gateway need not run."""

from typing import Any

from gateway.cli.database import reach_database, with_keys_beside_data
from gateway.cli.say import Say
from gateway.config.schema import Config
from gateway.credentials.keyring import Keys
from gateway.credentials.vault import Vault
from gateway.errors import UsageError
from gateway.identity.caller import flaw_of_user_id
from gateway.projects.store import OPERATOR, NewProject, Project, Projects, acp_upstream
from gateway.proxy.policy import AddressPolicy
from gateway.proxy.upstream import Upstream
from gateway.wire.codec import DecodeError, decode, dump_json


async def register(
    config: Config,
    say: Say,
    *,
    address: str,
    acp_address: str | None,
    owner: str,
    project_id: str | None,
    name: str | None,
    agent_id: str | None,
    as_json: bool,
) -> None:
    """Register a container as a project."""
    flaw = flaw_of_user_id(owner)
    if flaw is not None:
        raise UsageError(f"--owner {owner!r}: {flaw}")
    _check_addresses(config, address, acp_address)
    new = _new_project(containerUrl=address, acpUrl=acp_address, id=project_id, name=name, defaultAgentId=agent_id)
    _check_mapping(config, new)
    async with reach_database(config) as database:
        project = await Projects(database, config=config.containers).create(owner, new)
    _tell(say, project, as_json)


async def move(
    config: Config, say: Say, *, project_id: str, address: str, acp_address: str | None, as_json: bool
) -> None:
    """Have a project be at another container; a gateway takes users' credentials back from the former one."""
    _check_addresses(config, address, acp_address)
    secrets = {"container_token": None, "opencode_password": None}
    changes = {"container_url": address, "acp_url": acp_address, **secrets}
    _check_mapping(config, _new_project(containerUrl=address, acpUrl=acp_address))
    async with reach_database(config) as database:
        vault = Vault(Keys.load((config if config.database.url else with_keys_beside_data(config)).vault))
        projects = Projects(database, vault, config.containers)
        known = await projects.get_for_follower(project_id)
        change = await projects.update(known.owner_id, project_id, changes, told_as=OPERATOR)
    _tell(say, change.project, as_json)


def _check_addresses(config: Config, address: str, acp_address: str | None) -> None:
    policy = AddressPolicy.parse(config.containers.allow)
    for what, text in (("the container's address", address), ("--acp-url", acp_address)):
        if text is not None:
            try:
                policy.check_literal(Upstream.parse(text).host)
            except ValueError as exc:
                raise UsageError(f"{what}: {exc}") from exc  # without the address, which may contain a password


def _check_mapping(config: Config, project: NewProject) -> None:
    port = acp_upstream(project, config.containers).port
    if not 0 < port < 65536:
        raise UsageError(f"the ACP port would be {port}, which is not a port; set the ACP address with --acp-url")


def _new_project(**members: Any) -> NewProject:
    """The same checks as over HTTP."""
    try:
        return decode(NewProject, dump_json({name: value for name, value in members.items() if value is not None}))
    except DecodeError as exc:
        raise UsageError(str(exc).replace("$.", "")) from exc


def _tell(say: Say, project: Project, as_json: bool) -> None:
    if as_json:
        shown = {
            "id": project.id,
            "ownerId": project.owner_id,
            "containerUrl": project.container_url,
            "acpUrl": project.acp_url,
        }
        say(dump_json(shown).decode())
        return
    at = project.container_url + (f", ACP at {project.acp_url}" if project.acp_url else "")
    say(f"{project.id}  of {project.owner_id}, at {at}")
