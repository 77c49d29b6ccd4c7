"""Roles in a project; each includes the lower ones."""

from enum import IntEnum
from typing import Literal, cast

RoleWord = Literal["viewer", "operator", "admin"]


class Role(IntEnum):
    """VIEWER reads history and streams; OPERATOR prompts, answers permissions, works with agents; ADMIN everything."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> RoleWord:
        """Its name in the API and the database."""
        return cast(RoleWord, self.name.lower())

    @classmethod
    def named(cls, word: str) -> "Role":
        """The role with this name, one of ``ROLE_WORDS``."""
        return cls[word.upper()]


ROLE_WORDS = tuple(role.word for role in Role)
