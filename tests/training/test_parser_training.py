"""Labels, samples, loss and loop of the object parser's training."""

import math

import numpy as np
import pytest
import torch

from ssvc_codec.errors import MediaError, ModelError
from ssvc_codec.nets.parser import ExportedParser, ParserNet, ParserOutput, find_peaks
from ssvc_codec.training.parser import ParserTrainer, ParserTrainOptions
from ssvc_codec.training.parser_data import (
    LabelledPicture,
    LabelledShardWriter,
    is_held_out,
    read_labelled,
    yuv_to_rgb,
)
from ssvc_codec.training.parser_export import load_averaged, write_onnx
from ssvc_codec.training.parser_labels import Teacher, box_iou, merge_views
from ssvc_codec.training.parser_loss import confidence, draw_targets, parser_loss
from ssvc_codec.training.parser_sampling import Objects, ParserSampler, degrade, whole_pictures
from ssvc_codec.training.parser_validation import Found, average_precision

WHITE, BLACK = 235, 16  # Y of BT.601 limited range


def picture_with_square(x=40, y=20, side=24, *, width=96, height=64, score=0.9, source="a.png"):
    luma = np.full((height, width), BLACK, np.uint8)
    luma[y : y + side, x : x + side] = WHITE
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    return (luma, chroma, chroma), np.array([[16, score, x, y, side, side]], np.float32), source


def resident(*arguments, **options):
    planes, boxes, source = picture_with_square(*arguments, **options)
    y, u, v = (torch.from_numpy(plane) for plane in planes)
    return LabelledPicture(y, u, v, torch.from_numpy(boxes), source)


@pytest.fixture
def shards(tmp_path):
    writer = LabelledShardWriter(tmp_path / "data", shard_mib=0.4)
    for number in range(80):
        writer.add(*picture_with_square(number % 60, number % 40, source=f"{number}.png"))
    writer.flush()
    assert writer.n_shards > 1
    return tmp_path / "data"


def test_shards_give_back_pictures_boxes_and_sources(shards):
    pictures = list(read_labelled(shards))
    assert [p.source for p in pictures] == [f"{n}.png" for n in range(80)]
    planes, boxes, _ = picture_with_square(3, 3)
    assert np.array_equal(pictures[3].y.numpy(), planes[0])
    assert np.array_equal(pictures[3].boxes.numpy(), boxes)


def test_all_frames_of_a_video_are_on_the_same_side():
    assert len({is_held_out(f"walk.mp4@{frame}+8") for frame in range(50)}) == 1
    share = sum(is_held_out(f"{n}.webp") for n in range(4000)) / 4000
    assert share == pytest.approx(1 / 16, abs=0.02)  # a hash: five sigma of 4000 draws


def test_white_black_and_red_of_bt601():
    yuv = torch.tensor([[235.0, 128, 128], [16, 128, 128], [81, 90, 240]]).view(3, 3, 1, 1)
    expected = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]])
    torch.testing.assert_close(yuv_to_rgb(yuv).view(3, 3), expected, atol=0.006, rtol=0)  # codes are integers


def test_views_of_one_object_are_averaged_and_a_lone_one_counts_less():
    plain = np.array([[16, 0.8, 10, 20, 30, 40], [0, 0.5, 60, 0, 20, 20]], np.float32)
    mirrored = np.array([[16, 0.6, 58, 20, 32, 40]], np.float32)  # back: x = 100 - 58 - 32 = 10
    merged = merge_views(plain, mirrored, width=100, min_score=0.1)
    assert merged[0] == pytest.approx([16, 0.7, 10, 20, 31, 40])
    assert merged[1] == pytest.approx([0, 0.3, 60, 0, 20, 20])
    assert merge_views(plain[:0], mirrored[:0], width=100, min_score=0.1).shape == (0, 6)


def test_overlap_of_a_half_shifted_box_is_a_third():
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[5, 0, 10, 10], [20, 20, 1, 1]], np.float32)
    assert box_iou(a, b)[0] == pytest.approx([1 / 3, 0])


def test_a_file_that_is_no_onnx_model_is_a_model_error(tmp_path):
    path = tmp_path / "t.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"t\.onnx"):
        Teacher(path)


def test_boxes_follow_their_objects_through_crops_mosaics_and_mirrors():
    pictures = [resident(40, 20), resident(10, 30)]
    sampler = ParserSampler(pictures, "cpu", torch.Generator().manual_seed(5))
    sampler._recolour = lambda yuv: yuv
    checked = 0
    for _ in range(6):
        samples = sampler.draw(4, 128)
        assert samples.picture.shape == (4, 3, 128, 128)
        for sample, (x, y, w, h) in zip(samples.objects.sample, samples.objects.box.tolist(), strict=True):
            assert 0 <= x <= x + w <= 128.01
            assert 0 <= y <= y + h <= 128.01
            inner = samples.picture[sample, 1, math.ceil(y) : int(y + h), math.ceil(x) : int(x + w)]
            if inner.numel() > 25:
                assert inner.mean() > 0.7  # white, its edge softened and its codes perhaps coarse
                checked += 1
    assert checked > 10


def test_degraded_pictures_stay_near_the_original():
    yuv = torch.full((16, 3, 64, 64), 120.0)
    worse = degrade(yuv.clone(), torch.Generator().manual_seed(1))
    assert 0 < (worse - yuv).abs().mean() < 12  # the strongest noise has a sigma of 12
    assert torch.equal(worse[(worse == yuv).flatten(1).all(1)][:1], yuv[:1])  # and some are left alone


def one_object(score=0.6, box=(40.0, 20.0, 24.0, 16.0)):
    return Objects(torch.tensor([0]), torch.tensor([2]), torch.tensor([score]), torch.tensor([box]))


def test_targets_peak_at_the_cell_of_the_centre():
    targets = draw_targets(one_object(), n_samples=1, n_classes=3, rows=16, columns=32)
    # centre (52, 28) = cell (13, 7), offset 0
    assert targets.centre_row.tolist() == [2]
    assert targets.centre_cell.tolist() == [7 * 32 + 13]
    assert targets.offset.tolist() == [[0, 0]]
    assert targets.negative[2, 7 * 32 + 13] == 0
    assert 0 < targets.negative[2, 7 * 32 + 14] < 1
    assert (targets.negative[:2] == 1).all()
    assert targets.log_size.exp().mul(32).tolist()[0] == pytest.approx([24, 16])
    assert 7 * 32 + 13 in targets.near_cell.tolist()


def test_confidence_rises_from_nothing_at_a_tenth_to_certainty_at_six_tenths():
    assert confidence(torch.tensor([0.1, 0.35, 0.6, 0.9])).tolist() == pytest.approx([0, 0.5, 1, 1])


def test_a_picture_without_objects_has_a_finite_loss():
    nothing = Objects(torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(0), torch.zeros(0, 4))
    targets = draw_targets(nothing, n_samples=1, n_classes=3, rows=8, columns=8)
    output = ParserOutput(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8))
    loss = parser_loss(output, targets)
    # each of the 192 cells: p^2 * -log(1 - p) at p = 1/2
    assert loss.total.item() == pytest.approx(192 * 0.25 * math.log(2), rel=1e-5)


def test_the_gradient_of_the_background_is_that_of_its_formula():
    torch.manual_seed(1)
    targets = draw_targets(one_object(), n_samples=1, n_classes=3, rows=16, columns=32)
    logits = torch.randn(1, 3, 16, 32, requires_grad=True)
    box = torch.zeros(1, 2, 16, 32)
    parser_loss(ParserOutput(logits, box, box), targets).heatmap.backward()
    z = logits.detach().clone().requires_grad_()
    p = z.sigmoid().view(3, -1)
    expected = -(targets.negative * p.square() * torch.log(1 - p)).sum()
    at = p[2, targets.centre_cell[0]]
    (expected - (at - 1).square() * torch.log(at)).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, z.grad, rtol=1e-4, atol=1e-6)


def test_the_loss_is_least_where_the_parser_is_as_sure_as_the_teacher():
    targets = draw_targets(one_object(score=0.35), n_samples=1, n_classes=3, rows=16, columns=32)
    box = torch.zeros(1, 2, 16, 32)
    losses = []
    for z in (-2.0, 0.0, 2.0):
        heatmap = torch.full((1, 3, 16, 32), -20.0)
        heatmap[0, 2, 7, 13] = z
        losses.append(parser_loss(ParserOutput(heatmap, box, box), targets).heatmap.item())
    assert losses[1] < min(losses[0], losses[2])  # confidence 0.5 is a logit of 0


def test_average_precision_of_a_hit_a_miss_and_a_late_hit():
    truth = np.array([[0, 1, 0, 0, 10, 10], [0, 1, 50, 50, 10, 10]], np.float32)
    found = np.array([[0, 0.9, 0, 0, 10, 10], [0, 0.8, 20, 0, 9, 9], [0, 0.7, 50, 51, 10, 10]], np.float32)
    # recall 1/2 at precision 1, recall 1 at precision 2/3
    assert average_precision([Found(truth, found)], 0) == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(average_precision([Found(truth, found)], 5))


def test_whole_pictures_are_scaled_to_the_long_side():
    samples = whole_pictures([resident(40, 20)], 192, "cpu")
    assert samples.objects.box.tolist()[0] == pytest.approx([80, 40, 48, 48])
    assert samples.picture[0, :, 64, 100].min() > 0.95
    assert samples.picture[0, :, 150, 100].tolist() == pytest.approx([98 * 1.164384 / 255] * 3, abs=1e-3)  # Y 114


def options(shards, out, **changes):
    values = {"batch": 2, "crop": 64, "late_crop": 64, "minutes": 5.0, "max_steps": 2, "device": "cpu", "threads": 1}
    return ParserTrainOptions(shards, out, **(values | changes))


def test_a_run_trains_saves_and_goes_on_where_it_stopped(shards, tmp_path):
    lines = []
    trainer = ParserTrainer(options(shards, tmp_path / "run"))
    assert trainer.validation
    before = {name: p.clone() for name, p in trainer.net.named_parameters()}
    trainer.train(lines.append)
    assert any(not torch.equal(p, before[name]) for name, p in trainer.net.named_parameters())
    assert lines[-1].startswith("validation: step=2 ")
    again = ParserTrainer(options(shards, tmp_path / "run", resume=True, max_steps=3))
    assert again.run.step == 2
    for name, tensor in trainer.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[name], tensor), name
    again.train(lines.append)
    assert again.run.step == 3
    assert len((tmp_path / "run" / "validation.csv").read_text().splitlines()) == 3


def test_training_without_shards_is_a_media_error(tmp_path):
    with pytest.raises(MediaError, match="ssvc train label"):
        ParserTrainer(options(tmp_path, tmp_path / "run"))


def test_a_parser_learns_one_picture(tmp_path):
    writer = LabelledShardWriter(tmp_path / "data")
    writer.add(*picture_with_square(40, 20, source="1.png"))
    writer.flush()
    trainer = ParserTrainer(options(tmp_path / "data", tmp_path / "run", learning_rate=3e-3))
    samples = whole_pictures([resident(40, 20)], 96, "cpu")
    trainer.sampler.draw = lambda n, size: samples._replace(
        picture=samples.picture.expand(n, -1, -1, -1),
        objects=Objects(torch.arange(n), *(part.expand(n, *part.shape[1:]) for part in samples.objects[1:])),
    )
    losses = [trainer.step(0.0)["loss"] for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]
    peaks = find_peaks(*ExportedParser(trainer.net).eval()(samples.picture), k=1)
    assert peaks.classes.item() == 16


def test_the_exported_file_says_what_the_network_says(shards, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    trainer = ParserTrainer(options(shards, tmp_path / "run"))
    trainer.train(lambda line: None)
    net, about = load_averaged(tmp_path / "run")
    assert about["steps"] == 2
    write_onnx(net, tmp_path / "p.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "p.onnx"), providers=["CPUExecutionProvider"])
    picture = torch.rand(1, 3, 96, 160)
    with torch.no_grad():
        expected = ExportedParser(net).eval()(picture)
    heatmap, size, offset = session.run(["heatmap", "size", "offset"], {"image": picture.numpy()})
    # weights are rounded to half precision: 11 bits
    np.testing.assert_allclose(heatmap, expected[0].numpy(), atol=2e-3)
    np.testing.assert_allclose(size, expected[1].numpy(), rtol=1e-2)
    np.testing.assert_allclose(offset, expected[2].numpy(), atol=5e-3)
    stored = sum(p.numel() for p in ParserNet().parameters())
    assert (tmp_path / "p.onnx").stat().st_size < 2.3 * stored
