"""The encoder's search for blocks in the whole neighbourhood of the reference."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssvc_codec.inference.merge_coding import OWN_LIMIT
from ssvc_codec.nets.block_search import SEARCH_REACH, Sought, find_vectors, vector_errors
from ssvc_codec.nets.merge_choice import Pictures
from ssvc_codec.nets.motion import warp

FREE = torch.zeros(2, 256)
ALL = torch.tensor(1e6)  # at stake


def smooth_noise(height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, height // 4, width // 4, generator=generator) - 0.5
    return F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(-0.5, 0.5)


def moved(luma: Tensor, dx: float, dy: float) -> tuple[Tensor, Tensor, Tensor]:
    """The reference's chroma, and a picture that is the reference moved by one vector."""
    chroma = F.avg_pool2d(luma, 2).repeat(1, 2, 1, 1) * torch.tensor([0.5, -0.7]).view(1, 2, 1, 1)
    flow = torch.tensor([dx, dy]).view(1, 2, 1, 1)
    now = warp(luma, flow.expand(-1, -1, *luma.shape[2:]), mode="bicubic")
    return chroma, now, warp(chroma, (flow / 2).expand(-1, -1, *chroma.shape[2:]), mode="bicubic")


def test_blocks_that_moved_far_are_found_to_a_quarter_sample() -> None:
    reference = smooth_noise(96, 160, 1)
    row, column = torch.tensor([5, 6, 4, 7]), torch.tensor([6, 10, 9, 12])
    for dx, dy, mean in ((19.25, -22.5, (0.0, 0.0)), (-25.0, 17.75, (0.5, -2.25)), (3.5, 0.0, (-20.0, 20.0))):
        chroma, now, now_chroma = moved(reference, dx, dy)
        pictures = Pictures(now, now_chroma, reference, chroma)
        means = torch.tensor([mean]).expand(4, -1)
        sought = Sought.of(pictures, row, column, means)
        numbers, vectors = find_vectors(sought, pictures, ALL.expand(4), torch.tensor(0.1), FREE)
        assert numbers.tolist() == [0, 1, 2, 3]
        assert torch.equal(means + vectors / 4, torch.tensor([[dx, dy]]).expand(4, -1))
        assert float(vector_errors(sought, pictures, vectors).max()) < 1e-4


def test_blocks_may_come_from_beyond_the_edge_and_the_current_picture_be_a_part() -> None:
    reference = smooth_noise(96, 160, 2)
    chroma, now, now_chroma = moved(reference, -26.0, 8.0)
    part = Pictures(now[:, :, 32:, :96], now_chroma[:, :, 16:, :48], reference, chroma, top=32)
    rows, columns = torch.tensor([0, 3]), torch.tensor([2, 7])  # the first reads 10 samples beyond the left edge
    sought = Sought.of(part, rows, columns, torch.zeros(2, 2))
    _, vectors = find_vectors(sought, part, ALL.expand(2), torch.tensor(0.1), FREE)
    assert float(vector_errors(sought, part, vectors).max()) < 1e-4
    assert vectors[1].tolist() == [-104, 32]


def test_what_costs_more_than_it_can_save_is_left_out() -> None:
    reference = smooth_noise(96, 160, 3)
    chroma, now, now_chroma = moved(smooth_noise(96, 160, 4), 0, 0)
    pictures = Pictures(now, now_chroma, reference, chroma)
    sought = Sought.of(pictures, torch.tensor([5]), torch.tensor([5]), torch.zeros(1, 2))
    assert not find_vectors(sought, pictures, torch.tensor([30.0]), torch.tensor(0.1), FREE)[0].numel()
    assert SEARCH_REACH * 4 < OWN_LIMIT
