"""What a person may do in a project: each role may all that those below it may."""

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
        """The role as the API and the database name it."""
        return cast(RoleWord, self.name.lower())

    @classmethod
    def named(cls, word: str) -> "Role":
        """The role of that name, one of ``ROLE_WORDS``."""
        return cls[word.upper()]


ROLE_WORDS = tuple(role.word for role in Role)
