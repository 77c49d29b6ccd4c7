"""All classes of a kind, in whatever room they are."""

import pkgutil
from importlib import import_module
from typing import TypeVar

import gateway

T = TypeVar("T")


def all_of(base: type[T]) -> list[type[T]]:
    """A class with all that derive from it."""
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        # Those two are programs, and run when they are imported.
        if not module.name.endswith(("__main__", ".guard")):
            import_module(module.name)
    found = [base]
    for one in found:
        found.extend(one.__subclasses__())
    return found
