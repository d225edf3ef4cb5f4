"""What pyproject.toml lists is what is there, and each layer loads no more than it says."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ssvc_codec


@pytest.fixture(scope="module")
def pyproject(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text())


def packages_on_disk(repository: Path) -> set[str]:
    """Every folder that holds Python or model data, under the name it is installed as."""
    found = {"ssvc_codec.models"}
    for folder, installed in (
        ("cli", "ssvc_codec.cli"),
        ("ffmpeg_bridge", "ffmpeg_bridge"),
        ("ssvc_codec", "ssvc_codec"),
    ):
        for module in (repository / folder).rglob("*.py"):
            below = module.parent.relative_to(repository / folder).parts
            found.add(".".join((installed, *below)))
    return found


def test_the_packages_listed_are_the_packages_found(pyproject: dict[str, Any], repository: Path) -> None:
    assert set(pyproject["tool"]["setuptools"]["packages"]) == packages_on_disk(repository)


def test_every_package_with_python_has_an_init_file(repository: Path) -> None:
    folders = {m.parent for top in ("cli", "ffmpeg_bridge", "ssvc_codec") for m in (repository / top).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_models_holds_data_only(repository: Path) -> None:
    assert list((repository / "models").rglob("*.py")) == []


def test_every_requirement_has_an_upper_bound(pyproject: dict[str, Any]) -> None:
    extras = pyproject["project"]["optional-dependencies"].values()
    requirements = [*pyproject["project"]["dependencies"], *(line for extra in extras for line in extra)]
    unbounded = [line for line in requirements if "<" not in line and "==" not in line]
    assert unbounded == ["ssvc[bench,train]"]


def test_every_public_name_exists() -> None:
    assert [name for name in ssvc_codec.__all__ if getattr(ssvc_codec, name, None) is None] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ssvc_codec.no_such_name  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("statement", ["import ssvc_codec", "import ssvc_codec.cli", "from ssvc_codec import Frame"])
def test_it_imports_without_torch_and_pyav(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in ('torch', 'av', 'compressai') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_models_are_found_where_this_is_installed() -> None:
    from ssvc_codec.weights import list_models

    assert "base" in list_models()
