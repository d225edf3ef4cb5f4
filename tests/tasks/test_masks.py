"""Masks on their way: what flow does to them, over key frames too, and what they are trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ffmpeg_bridge.tasks.composites import main as composites
from ffmpeg_bridge.tasks.composites import write_composites
from ffmpeg_bridge.tasks.davis import read_davis
from ffmpeg_bridge.tasks.motion import bridge_flow, object_flow, warp
from ffmpeg_bridge.tasks.pseudo_masks import write_sequence
from ffmpeg_bridge.tasks.refiner import MaskUNet, Refiner, carry, refiner_input, save_refiner
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.mask_quality import jaccard

HEIGHT, WIDTH, SIDE, STEP = 96, 160, 40, 3


def square(time: int) -> np.ndarray:
    """Where a square is that moves to the right by 3 pixels a frame."""
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[24 : 24 + SIDE, 20 + STEP * time : 20 + SIDE + STEP * time] = 1
    return mask


def flow_at(time: int) -> np.ndarray:
    """True flow: of the square to where it was, of the background nothing."""
    return np.stack((-STEP * square(time), np.zeros((HEIGHT, WIDTH), np.float32)))


def test_flow_alone_leaves_a_trail_where_background_comes_to_sight() -> None:
    plain = warp(square(0), flow_at(1))
    assert (plain - square(1)).sum() == pytest.approx(STEP * SIDE)  # true flow leads back to the square there


def test_the_flow_of_the_object_leaves_none() -> None:
    mask = square(0)
    for time in range(1, 11):
        mask = carry(mask, flow_at(time)).own
    assert jaccard(mask >= 0.5, square(10) >= 0.5) > 0.97


def test_an_empty_mask_takes_the_flow_as_it_is() -> None:
    assert np.array_equal(object_flow(np.zeros((HEIGHT, WIDTH), np.float32), flow_at(1)), flow_at(1))


@pytest.mark.parametrize("known", [(4,), (6,), (4, 6)])
def test_a_key_frame_moves_as_its_neighbours_do(known: tuple[int, ...]) -> None:
    bridge = bridge_flow({number: flow_at(number) for number in known}, 5)
    assert bridge is not None
    inner = np.s_[34:54, 20 + STEP * 5 + 8 : 20 + STEP * 5 + SIDE - 8]
    assert np.allclose(bridge[0][inner], -STEP, atol=0.01)
    assert np.allclose(bridge[:, :16], 0, atol=0.01)
    assert jaccard(carry(square(4), bridge).own >= 0.5, square(5) >= 0.5) > 0.97


def test_without_neighbours_nothing_is_known() -> None:
    assert bridge_flow({1: flow_at(1)}, 5) is None


def test_the_refiner_is_told_where_the_picture_was_decoded() -> None:
    rgb, where = np.full((HEIGHT, WIDTH, 3), 255, np.uint8), square(0) > 0
    x = refiner_input(carry(square(0), None), rgb, where)
    assert np.array_equal(x[0, 4].numpy(), square(0))
    assert np.array_equal(x[0, 5].numpy(), 0.5 * square(0))


def test_an_untrained_refiner_leaves_masks_as_they_are(tmp_path: Path) -> None:
    save_refiner(MaskUNet(), tmp_path / "net.safetensors")
    refiner = Refiner(tmp_path / "net.safetensors")
    mask = square(0)[:90, :150]
    assert np.array_equal(refiner.refine(carry(mask, None), None) >= 0.5, mask >= 0.5)
    assert refiner.refine(carry(0 * mask, None), None).max() < 0.5


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Two sequences of one frame: a bright square on grey, a dark one on white."""
    for name, (front, back) in {"a": (250, 120), "b": (20, 255)}.items():
        mask = square(8) > 0
        rgb = np.where(mask[..., None], front, back).astype(np.uint8).repeat(3, axis=2)
        write_sequence(tmp_path / "masked", name, [rgb], mask[None])
    return tmp_path / "masked"


def test_masks_of_composites_are_where_the_object_is(masked: Path, tmp_path: Path) -> None:
    assert write_composites(read_davis(masked), tmp_path / "out", count=3, n_frames=4) == 3
    sequences = read_davis(tmp_path / "out")
    assert [len(sequence.pictures) for sequence in sequences] == [4, 4, 4]
    for sequence in sequences:
        truth = sequence.truth(3, width=WIDTH, height=HEIGHT)
        luma = np.array(Image.open(sequence.pictures[3]).convert("L")).astype(int)
        assert truth.sum() == pytest.approx(SIDE * SIDE, rel=0.15)
        assert np.median(luma[truth]) == pytest.approx(250, abs=3) or np.median(luma[truth]) == pytest.approx(20, abs=3)


def test_composites_need_two_objects(masked: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="two sequences"):
        write_composites(read_davis(masked, limit=1), tmp_path / "out")


def test_composites_are_made_from_the_command_line(
    masked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["composites", str(masked), str(tmp_path / "out"), "--count", "1", "--frames", "2"])
    assert composites() == 0
    assert capsys.readouterr().out == "1 sequences\n"
    monkeypatch.setattr("sys.argv", ["composites", str(tmp_path / "nowhere"), str(tmp_path / "out")])
    assert composites() == 1
    assert "no such folder" in capsys.readouterr().err
