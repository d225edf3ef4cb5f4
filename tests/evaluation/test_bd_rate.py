from __future__ import annotations

import math

import pytest

from ssvc_codec.evaluation.bd_rate import RatePoint, bd_rate


def points(rates: list[float], qualities: list[float]) -> list[RatePoint]:
    return [RatePoint(r, q) for r, q in zip(rates, qualities, strict=True)]


# The example of the bjontegaard package (FAU-LMS, README, libx265 presets). Its PCHIP is stated to equal the Excel
# sheet of the JVET common test conditions (JVET-T2010) to ten decimals; version 1.3.0 gives these numbers.
FAU_ANCHOR = points([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851])
FAU_TEST = points([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987])

# The first sample of the widely copied bjontegaard_metric.py; bjontegaard 1.3.0, method pchip.
SAMPLE_ANCHOR = points([686.76, 309.58, 157.11, 85.95], [40.28, 37.18, 34.24, 31.42])
SAMPLE_TEST = points([893.34, 407.8, 204.93, 112.75], [40.39, 37.21, 34.17, 31.24])


def test_the_published_examples() -> None:
    assert bd_rate(FAU_ANCHOR, FAU_TEST).percent == pytest.approx(-4.417485350589045, abs=1e-9)
    assert bd_rate(SAMPLE_ANCHOR, SAMPLE_TEST).percent == pytest.approx(31.379878202397627, abs=1e-9)


def test_a_tenth_less_rate_at_every_quality_is_minus_ten_percent() -> None:
    test = [RatePoint(0.9 * p.rate, p.quality) for p in FAU_ANCHOR]
    result = bd_rate(FAU_ANCHOR, test)
    assert result.percent == pytest.approx(-10)
    assert result.overlap == 1


def test_the_order_of_the_points_does_not_matter() -> None:
    assert bd_rate(FAU_ANCHOR[::-1], FAU_TEST) == bd_rate(FAU_ANCHOR, FAU_TEST)


def test_curves_may_have_different_numbers_of_points() -> None:
    straight = points([1, 2, 4, 8, 16], [30, 33, 36, 39, 42])
    assert bd_rate(straight, points([2, 8], [33, 39])).percent == pytest.approx(0, abs=1e-9)


def test_the_overlap_is_the_common_share_of_the_quality_range() -> None:
    result = bd_rate(points([1, 2], [30, 40]), points([1, 2], [35, 50]))
    assert result.overlap == pytest.approx(5 / 20)


def test_curves_without_a_common_quality_have_a_reason() -> None:
    result = bd_rate(points([1, 2], [30, 33]), points([1, 2], [35, 40]))
    assert math.isnan(result.percent)
    assert not result.is_known
    assert "do not overlap" in result.reason


def test_quality_that_falls_with_rate_has_a_reason() -> None:
    result = bd_rate(points([1, 2, 3], [30, 29, 33]), FAU_TEST)
    assert math.isnan(result.percent)
    assert result.reason == "quality of anchor does not rise with rate"


def test_one_point_is_no_curve() -> None:
    assert "1 of the 2" in bd_rate(FAU_ANCHOR, FAU_TEST[:1]).reason


@pytest.mark.parametrize("bad", [RatePoint(0, 30), RatePoint(-1, 30), RatePoint(math.nan, 30), RatePoint(1, math.inf)])
def test_an_impossible_point_is_the_callers_error(bad: RatePoint) -> None:
    with pytest.raises(ValueError, match="positive rate"):
        bd_rate([*FAU_ANCHOR, bad], FAU_TEST)
