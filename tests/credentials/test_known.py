"""The secrets that are known of a project."""

import pytest

from gateway.credentials import known
from gateway.credentials.known import Known

WHOSE = ("claude", "ann")


def test_masker_stays_while_what_is_known_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "UNWRITTEN_SECONDS", 0.0)
    of_project = Known()
    of_project.add(WHOSE, 1, frozenset({"first-secret"}))
    of_project.add(WHOSE, 2, frozenset({"second-secret"}))
    masker = of_project.masker
    of_project.keep({(WHOSE, 1), (WHOSE, 2)})
    assert of_project.masker is masker
    of_project.keep({(WHOSE, 2)})
    assert of_project.masker.mask_text("first-secret second-secret") == "first-secret ***"
