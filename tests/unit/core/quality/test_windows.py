"""Windows over a text: each token is scored once, with half a window before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.core.quality.windows import TextWindow, stride_of, windows


def test_windows_by_hand() -> None:
    # Eleven tokens in windows of four, two apart: the first scores three, for nothing is before the very first.
    assert list(windows(11, 4, 1)) == [
        TextWindow(0, 4, 1), TextWindow(2, 6, 4), TextWindow(4, 8, 6), TextWindow(6, 10, 8), TextWindow(8, 11, 10),
    ]  # fmt: skip
    # With something before it the very first is scored, too; a short text is one window.
    assert list(windows(3, 4, 0)) == [TextWindow(0, 3, 0)]


@given(st.integers(0, 300), st.integers(2, 64), st.integers(0, 1))
def test_each_token_is_scored_once_with_enough_before_it(n_tokens: int, width: int, n_unscored: int) -> None:
    found = list(windows(n_tokens, width, n_unscored))
    assert [place for w in found for place in range(w.first, w.end)] == list(range(n_unscored, n_tokens))
    for number, window in enumerate(found):
        assert window.begin <= window.first < window.end
        assert window.end - window.begin <= width
        if number:
            assert window.begin == number * stride_of(width)
            # Half of a window, or more where its width is odd.
            assert window.first - window.begin == width - width // 2


@pytest.mark.parametrize("width", [1, 0, -3])
def test_a_window_has_room_for_a_token_and_one_before_it(width: int) -> None:
    with pytest.raises(ValueError, match="no room for one and what comes before it"):
        list(windows(5, width, 1))
