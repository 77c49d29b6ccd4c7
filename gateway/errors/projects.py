"""Projects and their members."""

from typing import Final

from gateway.errors.access import Forbidden
from gateway.errors.requests import Conflict, NotFound
from gateway.errors.storage import VaultNotConfigured


class ProjectNotFound(NotFound):
    """There is no such project."""

    code = "project_not_found"


class ProjectExists(Conflict):
    """A project with this id exists already."""

    code = "project_exists"


class AddressTaken(Conflict):
    """Another project has this container."""

    code = "address_taken"


class TooManyProjects(Conflict):
    """You own as many projects as one user may have."""

    code = "too_many_projects"


class ProjectCreationDenied(Forbidden):
    """You may not register containers here."""

    code = "project_creation_denied"


class MemberNotFound(NotFound):
    """There is no such member of this project."""

    code = "member_not_found"


class OwnerIsAdmin(Conflict):
    """The project's owner is its admin and cannot be anything else."""

    code = "owner_is_admin"


class TooManyMembers(Conflict):
    """The project has as many members as it can have."""

    code = "too_many_members"


#: Where a project is given its container.
REGISTRATION: Final = (AddressTaken, ProjectCreationDenied, VaultNotConfigured)
#: Where a membership is changed.
MEMBER: Final = (MemberNotFound, OwnerIsAdmin)
