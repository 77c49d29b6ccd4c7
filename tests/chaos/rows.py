"""All rows: each module named ``rows_*`` registers its own."""

import importlib
from pathlib import Path


def load() -> None:
    for path in sorted(Path(__file__).parent.glob("rows_*.py")):
        importlib.import_module(f"tests.chaos.{path.stem}")
