"""The README's commands are the ones that CI runs, and options it names exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def command_of(readme: str, name: str) -> str:
    match = re.search(rf"<!-- {name} -->\n```sh\n(.*)\n```\n<!-- end -->", readme)
    assert match is not None, f"README.md has no command marked {name!r}"
    return match[1]


def test_set_up_is_one_pip_call(readme: str) -> None:
    assert command_of(readme, "set-up").count("pip install") == 1
    assert readme.count("pip install") == 1


def test_ci_runs_the_set_up_command_of_the_readme(readme: str, repository: Path) -> None:
    script = (repository / ".ci" / "run").read_text()
    extract = next(line for line in script.splitlines() if line.startswith("setup="))
    result = subprocess.run(
        ["bash", "-c", f'{extract}; printf %s "$setup"'], cwd=repository, capture_output=True, text=True, check=True
    )
    assert result.stdout == command_of(readme, "set-up")
    assert "pip install" not in script
    assert command_of(readme, "check") in script


def test_contributing_names_the_same_set_up(readme: str, repository: Path) -> None:
    assert command_of(readme, "set-up") in (repository / "CONTRIBUTING.md").read_text()


def test_every_option_in_the_readme_exists(readme: str) -> None:
    helps = ""
    for command in ("encode", "decode", "info", "demo", "bench", "serve"):
        code = f"import sys; from ssvc_codec.cli.main import run; run(['{command}', '--help'])"
        helps += subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", readme)) - {"--help"}
    assert {option for option in named if option not in helps} == set()


def test_every_link_in_the_documents_leads_somewhere(repository: Path) -> None:
    broken: list[str] = []
    for document in [repository / "README.md", repository / "CONTRIBUTING.md", *(repository / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            path = (document.parent / target).resolve()
            if not path.exists():
                broken.append(f"{document.name}: {target}")
    assert broken == []
