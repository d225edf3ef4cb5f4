"""The object parser's network."""

import math

import pytest
import torch

from ssvc_codec.nets.parser import ConvUnit, ExportedParser, ParserNet, find_peaks


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(1)
    return ParserNet()


def test_every_output_has_a_quarter_of_the_size_in_both_directions(net):
    output = net.eval()(torch.zeros(2, 3, 64, 96))
    assert output.heatmap.shape == (2, 80, 16, 24)
    assert output.size.shape == output.offset.shape == (2, 2, 16, 24)


def test_a_fresh_parser_sees_objects_nowhere(net):
    heatmap, _, offset = ExportedParser(net).eval()(torch.rand(1, 3, 64, 64))
    assert heatmap.max() < 0.25  # the start bias is -2.2: 0.1
    assert 0 <= offset.min() <= offset.max() <= 1


def test_folding_the_batch_norms_does_not_change_what_it_says(net):
    for _ in range(3):
        net.train()(torch.rand(2, 3, 64, 64))  # moves the running statistics away from 0 and 1
    picture = torch.rand(1, 3, 64, 64)
    folded = net.folded()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    for before, after in zip(net.eval()(picture), folded(picture), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)  # other order of float32 operations


def test_a_depthwise_layer_says_the_same_in_training_and_in_use():
    unit = ConvUnit(8, 8, 5, groups=8, norm=False)
    x = torch.rand(1, 8, 16, 16)
    torch.testing.assert_close(unit.train()(x), unit.eval()(x))


def test_a_peak_becomes_the_box_around_its_centre():
    heatmap, size, offset = torch.zeros(1, 3, 8, 12), torch.zeros(1, 2, 8, 12), torch.zeros(1, 2, 8, 12)
    heatmap[0, 2, 5, 7] = 0.9
    heatmap[0, 2, 5, 8] = 0.8  # beside a higher one: no peak
    size[0, :, 5, 7] = torch.tensor([20.0, 10.0])
    offset[0, :, 5, 7] = torch.tensor([0.5, 0.25])
    peaks = find_peaks(heatmap, size, offset, k=2)
    assert peaks.classes[0, 0] == 2
    assert peaks.scores[0].tolist() == pytest.approx([0.9, 0.0])
    # centre (7.5, 5.25) cells of 4 pixels = (30, 21), less half of 20 x 10
    assert peaks.boxes[0, 0].tolist() == pytest.approx([20, 16, 20, 10])


def test_raw_sizes_are_clipped_before_they_can_overflow(net):
    raw = net.eval()(torch.zeros(1, 3, 32, 32))
    _, size, _ = ExportedParser.shipped(raw._replace(size=torch.full_like(raw.size, 100.0)))
    assert size.max().item() == pytest.approx(32 * math.exp(4), rel=1e-5)
