"""Projects are registered, changed and removed, with their followers and the credentials in their containers."""

from collections.abc import Mapping
from typing import Any

from gateway.errors import TooManyProjects
from gateway.follow.followers import Followers
from gateway.projects.room import ProjectsRoom
from gateway.projects.store import NewProject, Project
from gateway.tasks import Tasks
from gateway.telemetry.metrics import Metrics


class Registration:
    """Each call goes on to its end even if its caller is cancelled."""

    def __init__(self, projects: ProjectsRoom, followers: Followers, metrics: Metrics, tasks: Tasks) -> None:
        self._projects = projects
        self._followers = followers
        self._metrics = metrics
        self._tasks = tasks

    async def create(self, user_id: str, new: NewProject) -> Project:
        """Register a project for ``user_id``, its owner."""
        created = await self._tasks.complete(self._create(user_id, new), name="create project")
        if created.record_opencode_events:
            self._followers.follow(created.id)
        return created

    async def change(self, user_id: str, project_id: str, changes: Mapping[str, Any]) -> Project:
        """Change the named fields of a project."""
        return await self._tasks.complete(self._change(user_id, project_id, changes), name="change project")

    async def remove(self, user_id: str, project_id: str) -> None:
        """Remove a project with its sessions, log and messages."""
        await self._tasks.complete(self._remove(user_id, project_id), name="delete project")

    async def _create(self, user_id: str, new: NewProject) -> Project:
        try:
            return await self._projects.store.create(user_id, new, most=self._projects.limits.most_projects())
        except TooManyProjects:
            self._metrics.refused("projects_per_user")
            raise

    async def _change(self, user_id: str, project_id: str, changes: Mapping[str, Any]) -> Project:
        change = await self._projects.store.update(user_id, project_id, changes)
        if change.was_followed:
            # Who follows the former container must not pass for a follower of this one.
            await self._followers.leave(project_id)
        if change.project.record_opencode_events:
            self._followers.follow(project_id)
        return change.project

    async def _remove(self, user_id: str, project_id: str) -> None:
        await self._projects.store.delete(user_id, project_id)
        # Who follows the old container must not pass for a follower of a new project of this id.
        await self._followers.leave(project_id)
