"""That a test which leaks a secret fails for it, by itself."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What a test does that had a secret sealed, and whether it fails.
_STATEMENTS = {
    "pass": False,
    "LOGGER.warning('nothing secret')": False,
    "LOGGER.warning('it is a-long-enough-secret')": True,
    "LOGGER.warning('it is %s', 'a-long-enough-secret')": True,
    "LOGGER.warning('it', extra={'what': 'a-long-enough-secret'})": True,
    "LOGGER.error('it', exc_info=ValueError('a-long-enough-secret'))": True,
    "LOGGER.info('it is a-long-enough-secret')": True,
    "logging.getLogger('aiohttp.client').debug('it is a-long-enough-secret')": True,
    "print('a-long-enough-secret')": True,
    "sys.stderr.write('a-long-enough-secret')": True,
}
_HEAD = """
import logging, sys
from gateway.credentials.keyring import Key, KeyRing, Keys
from gateway.credentials.vault import Place, Vault
LOGGER = logging.getLogger("gateway")
"""
_TEST = """
def test_{number}():
    vault = Vault(Keys(ring=KeyRing([Key.make()])))
    vault.seal(b"a-long-enough-secret", Place.of_credential("ann", "codex", "access_token"))
    {statement}
"""


def test_a_test_that_shows_what_it_had_sealed_fails(tmp_path: Path) -> None:
    file = tmp_path / "test_leaking.py"
    tests = (_TEST.format(number=number, statement=statement) for number, statement in enumerate(_STATEMENTS))
    file.write_text(_HEAD + "".join(tests))
    options = ["--config-file", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-rE"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    failed = {int(number) for number in re.findall(r"^ERROR .*::test_(\d+)", done.stdout, re.MULTILINE)}
    assert failed == {number for number, leaks in enumerate(_STATEMENTS.values()) if leaks}, done.stdout + done.stderr
