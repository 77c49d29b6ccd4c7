"""What a person may do in a project: each role may all that those below it may."""

from enum import IntEnum


class Role(IntEnum):
    """VIEWER reads history and streams; OPERATOR prompts, answers permissions, works with agents; ADMIN everything."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3
