"""A wheel works where its user has `models/` and `cli/` folders too."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the working tree, built from a copy so that nothing is left behind in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "cli", "ffmpeg_bridge", "models", "ssvc_codec"):
        (source / name).symlink_to(repository / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    result = subprocess.run(build, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The wheel unpacked as `pip install --target` would, without its requirements."""
    target = wheel.parent / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    result = subprocess.run(install, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return target


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """A project of somebody else whose folders are called like ours."""
    for name in ("models", "cli", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the folder of the user was imported')\n")
    return tmp_path


def run_python(code: str, *, cwd: Path, installed: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_only_our_two_names_are_installed(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ffmpeg_bridge", "ssvc_codec"}


def test_every_model_file_is_in_the_wheel(wheel: Path, repository: Path) -> None:
    kinds = {".safetensors", ".json", ".toml", ".md"}
    models = {path.relative_to(repository / "models") for path in (repository / "models").rglob("*") if path.is_file()}
    shipped = {f"ssvc_codec/models/{path.as_posix()}" for path in models if path.suffix in kinds}
    assert shipped <= set(zipfile.ZipFile(wheel).namelist())


def test_the_commands_run_beside_folders_of_the_same_name(installed: Path, users_folder: Path) -> None:
    code = "import sys, ssvc_codec.cli as cli; sys.argv = ['ssvc', 'version']; print(cli.__file__); cli.main()"
    result = run_python(code, cwd=users_folder, installed=installed)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(installed / "ssvc_codec" / "cli"))
    assert "ssvc 0." in result.stdout


def test_model_data_is_found_beside_folders_of_the_same_name(installed: Path, users_folder: Path) -> None:
    code = "from ssvc_codec.weights import list_models; print(list_models()['base'])"
    result = run_python(code, cwd=users_folder, installed=installed)
    assert result.stdout.strip() == str(installed / "ssvc_codec" / "models" / "base"), result.stderr


def test_the_type_marker_is_installed(installed: Path) -> None:
    assert (installed / "ssvc_codec" / "py.typed").is_file()
