"""Fixtures that every part of the tests may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ssvc_codec.nets.intra import IntraConfig


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def small_intra() -> IntraConfig:
    """Sizes of I networks that a test can afford."""
    from ssvc_codec.nets.intra import IntraConfig

    return IntraConfig(
        width8=16,
        width16=24,
        n_y=24,
        n_z=4,
        analysis8=1,
        analysis16=1,
        context16=1,
        mend_width=8,
        mend_layers=1,
        mend_width8=8,
        mend_width16=8,
        blocks=8,
    )
