"""All rows: each module named ``rows_*`` registers its own."""

import importlib
from pathlib import Path
from typing import Final

#: Rows of the fault matrix that nothing here plays, and why.
LEFT_OUT: Final = {
    29: "20 requests need a refresh of one credential at once: there is no credential refresh yet",
    30: "a provider rotates the refresh token and its answer is lost: there is no credential refresh yet",
}


def load() -> None:
    for path in sorted(Path(__file__).parent.glob("rows_*.py")):
        importlib.import_module(f"tests.chaos.{path.stem}")
