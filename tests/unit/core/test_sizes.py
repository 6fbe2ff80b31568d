"""What has to stay free: a share of all there is, or a size as Docker writes it."""

from __future__ import annotations

import pytest

from autoscaler.core.sizes import Reserve

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "of_ten_gib"),
    [
        ("10%", GIB),
        (" 12.5 % ", GIB * 10 // 8),
        ("100%", 10 * GIB),
        ("2GiB", 2 * GIB),
        ("2g", 2 * GIB),
        ("2GB", 2 * GIB),
        ("1.5 gib", GIB * 3 // 2),
        ("512MiB", GIB // 2),
        ("512m", GIB // 2),
        ("1024k", 2**20),
        ("1t", 2**40),
        ("700b", 700),
    ],
)
def test_a_share_or_a_size_is_what_stays_free(text: str, of_ten_gib: int) -> None:
    reserve = Reserve.parse(text)
    assert reserve
    assert reserve.of(10 * GIB) == of_ten_gib


@pytest.mark.parametrize("text", ["0", "0%", "0MiB"])
def test_nothing_has_to_stay_free(text: str) -> None:
    reserve = Reserve.parse(text)
    assert not reserve
    assert reserve.of(10 * GIB) == 0


@pytest.mark.parametrize("text", ["", "101%", "-1%", "2", "2GiBs", "1e9b", "none", "٣%", "1,5g"])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a share such as 10%, a size such as 2GiB"):
        Reserve.parse(text)
