"""Controls against a made-up encoder: bits grow exponentially with q, differ by kind of frame, and are noisy."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest

from ssvc_codec.bitstream import FrameType
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.planner import HIERARCHIES, FramePlan, q_offset
from ssvc_codec.gop.quality_control import PSNR_DB, QualityControl
from ssvc_codec.gop.rate_control import BitrateControl, CodedPicture, FrameFacts, RateControl
from ssvc_codec.gop.rate_model import FrameKind, kind_of
from ssvc_codec.gop.statistics import FrameStatistics
from ssvc_codec.gop.two_pass import FirstPass, TwoPassControl

FORMAT = VideoFormat(width=240, height=160)
LUMA = np.random.default_rng(1).integers(100, 140, (160, 240), dtype=np.uint8)
CHROMA = np.full((80, 120), 128, np.uint8)
RATE = 25
KEYINT = 50
HIERARCHY = HIERARCHIES["psnr"]


@dataclass
class Content:
    """What frames cost. seconds is the time at which a frame starts."""

    intra_bits: float = 40_000  # at q 40
    inter_bits: float = 4_000  # at q 30
    growth: float = 0.07  # log2 of bits per step of q
    noise: float = 0.1  # standard deviation of log2 of bits
    scale: Callable[[float], float] = lambda seconds: 1.0  # of all bits
    cuts: tuple[int, ...] = ()  # numbers of frames with which a scene begins
    decibels: Callable[[float], float] = lambda seconds: 0.0  # added to all PSNR
    inherited: float = 0.0  # share of PSNR that a P frame has from the frame before


@dataclass
class Result:
    """What was coded: of every frame its bits, q, trials and dB."""

    bits: list[int] = field(default_factory=list)
    q: list[int] = field(default_factory=list)
    kinds: list[FrameKind] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def rate(self, seconds: float) -> float:
        return sum(self.bits) / seconds


def play(
    control: RateControl,
    content: Content,
    *,
    n_frames: int = 10 * RATE,
    keyint: int = KEYINT,
    times: list[int] | None = None,
    durations: bool = True,
    seed: int = 0,
) -> Result:
    """times: pts in milliseconds; 40 ms apart if not given."""
    random = np.random.default_rng(seed)
    result, distance = Result(), -1
    for number in range(n_frames):
        is_cut = number in content.cuts
        distance = 0 if distance < 0 or distance + 1 >= keyint or is_cut else distance + 1
        pts = 40 * number if times is None else times[number]
        duration = 40 if times is None else (times[number + 1] - pts if number + 1 < len(times) else 40)
        frame = Frame(LUMA, CHROMA, CHROMA, FORMAT, pts, duration if durations else 0, Fraction(1, 1000))
        frame_type = FrameType.P if distance else FrameType.I
        plan = FramePlan(frame_type, distance, 0, is_cut, q_offset(distance, keyint=keyint, hierarchy=HIERARCHY))
        facts = FrameFacts(frame, plan, keyint, HIERARCHY)
        kind = kind_of(distance, keyint=keyint)
        factor = content.scale(pts / 1000) * 2 ** random.normal(0, content.noise)
        plan, n_trials = plan.with_base(control.next_q(facts)), 1
        while True:
            at_q = (content.intra_bits, 40) if kind is FrameKind.I else (content.inter_bits, 30)
            n_bytes = max(1, round(factor * at_q[0] * 2 ** (content.growth * (plan.q_index - at_q[1])) / 8))
            again = control.retry(facts, n_bytes=n_bytes)
            if again is None or plan.with_base(again) == plan:
                break
            plan, n_trials = plan.with_base(again), n_trials + 1
        psnr = 30 + 0.2 * plan.q_index + content.decibels(pts / 1000) + random.normal(0, 0.1)
        if distance:
            psnr += content.inherited * (result.psnr[-1] - psnr)
        if isinstance(control, QualityControl):
            control._measure = lambda _source, _decoded, psnr=psnr: psnr
        statistics = FrameStatistics(pts, frame_type, distance, plan.q_index, n_bytes, 0, n_bytes, n_trials=n_trials)
        control.update(statistics, CodedPicture(frame, lambda: (LUMA, CHROMA, CHROMA)))
        for values, value in (
            (result.bits, 8 * n_bytes),
            (result.q, plan.q_index),
            (result.kinds, kind),
            (result.trials, n_trials),
            (result.psnr, psnr),
            (result.times, pts / 1000),
        ):
            values.append(value)  # type: ignore[arg-type]
    return result


STEP = Content(scale=lambda seconds: 1.0 if seconds < 4.5 else 3.0)
CUTS = Content(scale=lambda seconds: (1.0, 2.5, 0.5, 1.5)[int(seconds / 2.6) % 4], cuts=(65, 130, 195))
WAVE = Content(scale=lambda seconds: 2 ** math.sin(2 * math.pi * seconds / 3))
CONTENTS = {
    "plain": Content(),
    "steep": Content(growth=0.11),
    "flat": Content(growth=0.05),
    "still": Content(inter_bits=300),
    "busy": Content(inter_bits=30_000),
    "noisy": Content(noise=0.5),
    "three times as hard from 4.5 s on": STEP,
    "scene cuts": CUTS,
    "wave": WAVE,
}


class ConstantQuality:
    """No control at all."""

    def __init__(self, base_q: int) -> None:
        self._base_q = base_q
        self.notes: list[str] = []

    def next_q(self, facts: FrameFacts) -> int:
        return self._base_q

    def retry(self, facts: FrameFacts, *, n_bytes: int) -> None:
        return None

    def update(self, statistics: FrameStatistics, picture: CodedPicture) -> None:
        pass


def rate_of(content: Content, base_q: int) -> float:
    """What the content takes at a constant q, so that the rate is one that it can have."""
    return play(ConstantQuality(base_q), content, seed=9).rate(10)


@pytest.mark.parametrize("base_q", [8, 24, 40])
@pytest.mark.parametrize("name", CONTENTS)
def test_one_pass_is_within_5_percent_after_10_seconds(name: str, base_q: int) -> None:
    bitrate = rate_of(CONTENTS[name], base_q)
    assert play(BitrateControl(bitrate), CONTENTS[name]).rate(10) == pytest.approx(bitrate, rel=0.05)


@pytest.mark.parametrize("keyint", [1, 6, 12, 50, 250])
def test_any_length_of_groups_will_do(keyint: int) -> None:
    rate = 600_000 if keyint == 1 else 150_000
    control = BitrateControl(rate, total_seconds=10.0)
    assert play(control, Content(), keyint=keyint).rate(10) == pytest.approx(rate, rel=0.05)


def test_where_the_length_is_known_a_group_cut_short_is_paid_for() -> None:
    n_frames = 5 * KEYINT + 3  # the last I frame comes right before the end
    seconds = n_frames / RATE
    ignorant, knowing = (
        play(BitrateControl(150_000, total_seconds=known), Content(), n_frames=n_frames).rate(seconds) / 150_000 - 1
        for known in (None, seconds)
    )
    assert abs(knowing) < abs(ignorant)
    assert abs(knowing) < 0.03


def test_a_length_that_was_wrong_does_little_harm() -> None:
    control = BitrateControl(150_000, total_seconds=4.0)
    assert play(control, Content()).rate(10) == pytest.approx(150_000, rel=0.05)


def base_q(result: Result) -> list[int]:
    """The stream's q at each frame, where no limit of q was met."""
    offsets = [q_offset(distance, keyint=KEYINT, hierarchy=HIERARCHY) for distance in range(KEYINT)]
    return [q - offsets[i % KEYINT] for i, q in enumerate(result.q)]


def test_the_quality_hierarchy_of_a_group_stays() -> None:
    result = play(BitrateControl(150_000), Content(noise=0.0), n_frames=20 * RATE)
    assert np.std(base_q(result)[10 * RATE :]) < 1.0


def test_on_even_content_q_settles() -> None:
    result = play(BitrateControl(150_000), Content(noise=0.05), n_frames=20 * RATE)
    assert np.std(base_q(result)[10 * RATE :]) < 1.0


def test_time_is_that_of_timestamps_not_of_a_nominal_rate() -> None:
    """Half of the video has 10 frames a second, the other half 50."""
    times = [*range(0, 5000, 100), *range(5000, 10_000, 20)]
    for durations in (True, False):
        control = BitrateControl(150_000)
        result = play(control, Content(), n_frames=len(times), times=times, durations=durations)
        assert result.rate(10) == pytest.approx(150_000, rel=0.05)


def overdrawn(result: Result, *, rate: float, size: float) -> list[int]:
    """Numbers of frames that a decoder's buffer could not give, counted from the files' bits and times alone."""
    fullness, before, found = 0.9 * size, 0.0, []
    for number, (n_bits, time) in enumerate(zip(result.bits, result.times, strict=True)):
        fullness = min(size, fullness + rate * (time - before))
        before = time
        fullness -= n_bits
        if fullness < 0:
            found.append(number)
    return found


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("share", [0.4, 1.0])
@pytest.mark.parametrize("name", CONTENTS)
def test_the_buffer_is_never_overdrawn(name: str, share: float, seed: int) -> None:
    rate = rate_of(CONTENTS[name], 25)
    control = BitrateControl(rate, maxrate=1.2 * rate, bufsize=share * rate)
    result = play(control, CONTENTS[name], seed=seed)
    assert overdrawn(result, rate=1.2 * rate, size=share * rate) == []
    assert control.notes == []
    assert sum(trials > 1 for trials in result.trials) < 20


def test_an_unforeseen_burst_is_coded_again_until_it_fits() -> None:
    burst = Content(noise=0.0, scale=lambda seconds: 25.0 if seconds == 5.0 else 1.0)
    control = BitrateControl(150_000, maxrate=150_000, bufsize=60_000)
    result = play(control, burst)
    assert overdrawn(result, rate=150_000, size=60_000) == []
    assert max(result.trials) > 1


def test_what_does_not_fit_even_at_q_0_is_told() -> None:
    control = BitrateControl(50_000, maxrate=50_000, bufsize=2_000)
    result = play(control, Content(intra_bits=1_000_000))
    assert overdrawn(result, rate=50_000, size=2_000)
    assert result.q[0] == 0
    assert "did not fit" in control.notes[0]


@pytest.mark.parametrize("base_q", [10, 35])
@pytest.mark.parametrize("name", CONTENTS)
def test_two_passes_are_within_2_percent(name: str, base_q: int) -> None:
    content = CONTENTS[name]
    bitrate = rate_of(content, base_q)
    first = FirstPass(bitrate)
    cheaper_effort = replace(content, intra_bits=1.06 * content.intra_bits, inter_bits=1.12 * content.inter_bits)
    play(first, cheaper_effort, seed=1)
    assert first.seconds == pytest.approx(10)
    second = TwoPassControl(first.frames, n_bits=10 * bitrate)
    assert play(second, content, seed=2).rate(10) == pytest.approx(bitrate, rel=0.02)


def test_the_second_pass_keeps_q_even_where_one_pass_cannot() -> None:
    first = FirstPass(150_000)
    one = play(first, STEP, seed=1)
    two = play(TwoPassControl(first.frames, n_bits=1_500_000), STEP, seed=2)
    spread = [np.ptp([np.mean(r.q[:100]), np.mean(r.q[150:])]) for r in (one, two)]
    assert spread[1] < 0.5 * spread[0]


def test_the_second_pass_keeps_the_buffer_too() -> None:
    first = FirstPass(150_000)
    play(first, CUTS, seed=1)
    limits = {"maxrate": 165_000.0, "bufsize": 100_000.0}
    second = TwoPassControl(first.frames, n_bits=1_500_000, bitrate=150_000, **limits)
    result = play(second, CUTS, seed=2)
    assert overdrawn(result, rate=165_000, size=100_000) == []


@pytest.mark.parametrize("target", [33.0, 36.0, 40.0])
@pytest.mark.parametrize("every", [1, 3])
def test_a_mean_quality_is_met_within_an_eighth_of_a_decibel(target: float, every: int) -> None:
    changing = Content(decibels=lambda seconds: 1.5 * math.sin(seconds), cuts=(65,))
    control = QualityControl(target, lambda _source, _decoded: 0.0, prior=PSNR_DB, every=every)
    assert np.mean(play(control, changing).psnr) == pytest.approx(target, abs=0.125)


@pytest.mark.parametrize("target", [34.0, 38.0, 41.0])
def test_pictures_at_rest_take_their_quality_from_i_frames_whose_q_follows_no_extremes(target: float) -> None:
    control = QualityControl(target, lambda _source, _decoded: 0.0, prior=PSNR_DB)
    result = play(control, Content(inherited=0.98))
    assert np.mean(result.psnr) == pytest.approx(target, abs=0.25)
    assert np.ptp(result.q[KEYINT::KEYINT]) <= 30


def test_black_frames_are_not_paid_for_by_the_rest() -> None:
    black = Content(decibels=lambda seconds: 60.0 if seconds < 1 else 0.0)
    result = play(QualityControl(36.0, lambda _source, _decoded: 0.0, prior=PSNR_DB), black)
    assert np.mean(result.psnr[5 * RATE :]) == pytest.approx(36.0, abs=1.0)


def test_a_quality_out_of_reach_is_told() -> None:
    control = QualityControl(60.0, lambda _source, _decoded: 0.0, prior=PSNR_DB)
    assert min(play(control, Content()).q[50:]) >= 62
    assert "60.00 dB was asked for" in control.notes[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bitrate": 0}, "bitrate"),
        ({"bitrate": math.nan}, "bitrate"),
        ({"bitrate": 1000, "maxrate": 900}, "below"),
        ({"bitrate": 1000, "bufsize": 0}, "bufsize"),
        ({"bitrate": 1000, "maxrate": math.inf}, "maxrate"),
    ],
)
def test_rates_that_cannot_be_are_the_callers_fault(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BitrateControl(**arguments)


def test_the_other_controls_check_what_they_are_given() -> None:
    with pytest.raises(ValueError, match="no frame"):
        TwoPassControl([], n_bits=1000)
    with pytest.raises(ValueError, match="target"):
        QualityControl(0.0, lambda _source, _decoded: 0.0, prior=PSNR_DB)
    with pytest.raises(ValueError, match="every"):
        QualityControl(30.0, lambda _source, _decoded: 0.0, prior=PSNR_DB, every=0)


def test_rate_control_loads_no_torch() -> None:
    names = "rate_control, ssvc_codec.gop.two_pass, ssvc_codec.gop.quality_control"
    code = f"import sys, ssvc_codec.gop.{names}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
