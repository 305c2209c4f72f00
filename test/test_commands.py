"""docs/cli.md is what the commands say of themselves."""

import re
import sys

import pytest

from helpers import ROOT
from resources.commands import GROUPS, PAGE, PYTHON, page

COMMAND = re.compile(r"-m (resources(?:\.\w+)*)")


@pytest.mark.skipif(sys.version_info[:2] != PYTHON, reason="another argparse breaks lines elsewhere")
def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "to renew it: python -m resources.commands"


def test_every_command_is_on_the_page() -> None:
    modules = set()
    for file in (ROOT / "resources").rglob("*.py"):
        if 'if __name__ == "__main__"' in file.read_text(encoding="utf-8"):
            modules.add(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    named = {command[0] for commands in GROUPS.values() for command in commands}
    assert modules - named == {"resources.upload"}  # of export.sh
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert set(COMMAND.findall(text)) - named <= {"resources.upload"}
