"""A text ends before a stop string; none of one, and no half character, is shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import SMALL

from jaxlm.core.config import ConfigError
from jaxlm.data.tokenizers import ByteTokenizer
from jaxlm.sampling.stops import Reading, Stops

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
LETTERS = "abé日🙂"
STRINGS = st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=3)


def stopped(text, strings):
    """Word for word: the first character that completes a stop string ends the text."""
    for end in range(1, len(text) + 1):
        found = [string for string in strings if text[:end].endswith(string)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


def streamed(stops, parts):
    """What is shown of each part of the ids, and at the end."""
    reading, shown = Reading(), []
    for part in parts:
        reading = stops.read(reading, part)
        shown.append(reading.text)
    return [*shown, stops.rest(reading)], reading.finished


def split(ids, cuts):
    """The ids in parts, at these places."""
    places = sorted({0, *(cut % (len(ids) + 1) for cut in cuts), len(ids)})
    return [ids[a:b] for a, b in zip(places, places[1:], strict=False)]


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.text(LETTERS), STRINGS, st.lists(st.integers(0, 500)))
def test_pieces_joined_are_the_text_before_the_first_stop_string(text, strings, cuts):
    stops = Stops.of(ByteTokenizer(), strings)
    ids = [*text.encode()]
    expected = stopped(text, strings)
    assert stops.cut(ids) == expected
    shown, finished = streamed(stops, split(ids, cuts))
    assert ("".join(shown), finished) == expected
    assert UNKNOWN not in "".join(shown)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 255)), STRINGS, st.lists(st.integers(0, 500)))
def test_bytes_that_are_no_text_are_shown_alike_however_they_come(ids, strings, cuts):
    stops = Stops.of(ByteTokenizer(), strings)
    text, finished = stops.cut(ids)
    shown, ended = streamed(stops, split(ids, cuts))
    assert ("".join(shown), ended) == (text, finished)
    if not strings:
        assert text == ByteTokenizer().decode(ids)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text(LETTERS), STRINGS)
def test_all_is_shown_that_no_stop_string_can_take_back(text, strings):
    stops, reading, shown = Stops.of(ByteTokenizer(), strings), Reading(), ""
    for end in range(1, len(text) + 1):
        reading = stops.read(reading, text[end - 1].encode())
        shown += reading.text
        if reading.finished:
            break
        begun = [
            n
            for n in range(1, end + 1)
            for string in strings
            if string != text[end - n : end] and string.startswith(text[end - n : end])
        ]
        assert shown == text[: end - max(begun, default=0)]
        # What is carried on does not grow with the text.
        most = max((len(string.encode()) for string in strings), default=0)
        assert len(reading.held) < max(most, 1)


@pytest.mark.parametrize("name", SMALL)
def test_the_text_is_what_the_tokenizer_adds_to_a_prompt(name):
    tokenizer, prompt = SMALL[name]()
    for text in ("ab a", " b", "abba ab", "a", ""):
        ids = tokenizer.encode(text).tolist()
        first, both = tokenizer.decode(prompt), tokenizer.decode([*prompt, *ids])
        added = both.removeprefix(first)
        stops = Stops.of(tokenizer, ["b a"])
        assert stops.cut(ids) == stopped(added, ["b a"])
        shown, _ = streamed(stops, [[number] for number in ids])
        assert "".join(shown) == stops.cut(ids)[0]


def test_a_stop_string_across_tokens_by_hand():
    stops = Stops.of(ByteTokenizer(), ["\n\n", "END"])
    parts = [b"one\n", b"two", b" E", b"N", b"X\n", b"\nrest", b"more"]
    shown, finished = streamed(stops, parts)
    assert shown == ["one", "\ntwo", " ", "", "ENX", "", "", ""] and finished


def test_a_character_is_shown_when_it_is_whole():
    stops = Stops.of(ByteTokenizer())
    shown, _ = streamed(stops, [[byte] for byte in "日a".encode()])
    assert shown == ["", "", "日", "a", ""]
    assert streamed(stops, ["日".encode()[:2]])[0] == ["", UNKNOWN]


def test_an_id_past_the_vocabulary_is_no_text():
    tokenizer, _ = SMALL["character"]()
    assert Stops.of(tokenizer).cut([2, 99, 3, -1]) == (f"a{UNKNOWN}b{UNKNOWN}", False)


@pytest.mark.parametrize("string", ["", "a\ud800"])
def test_a_stop_string_that_no_text_has_is_refused(string):
    with pytest.raises(ConfigError, match="sampling.stop .* give at least one char"):
        Stops.of(ByteTokenizer(), ["a", string])
