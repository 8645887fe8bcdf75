"""Each rule keeps a document at its threshold and drops it one step further."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.core.config import ConfigError
from jaxlm.data import filters, spans
from jaxlm.data.filters import Limits

WORDS = [f"{first}{second}rd" for first in "bcdfghjklm" for second in "aeiouaeiou"]
LINE = " ".join(f"{word}{number}" for number, word in enumerate(WORDS[:50]))


def words(count: int) -> str:
    """So many different words of five to seven characters, one a line of ten."""
    return " ".join(f"{WORDS[n % 100]}{n}" for n in range(count))


def lines(*texts: str) -> str:
    return "\n".join(texts)


def distinct(count: int, ending: str = "") -> list[str]:
    """Lines of one length with ten words each that no other line has."""
    return [
        " ".join(f"{WORDS[w]}{n:03}" for w in range(10)) + ending for n in range(count)
    ]


def repeated(count: int, times: int) -> str:
    """`count` lines, the last `times` of them equal to the first."""
    made = distinct(count - times)
    return lines(*made, *made[:1] * times)


def reason(text: str, *arguments) -> str | None:
    (found,) = filters.reasons(spans.take_apart([text], folded=True), *arguments)
    return found


CASES = {  # name: (kept, dropped), the thresholds being the paper's
    "fewest words": ("length", words(50), words(49)),
    "most words": ("length", words(100_000), words(100_001)),
    "shortest words": ("word_length", "abc " * 60, "abc " * 59 + "ab"),
    "longest words": ("word_length", "abcdefghij " * 60, "abcdefghij " * 59 + "a" * 11),
    "hashes": ("symbols", words(100) + "#" * 10, words(100) + "#" * 11),
    "ellipses": ("symbols", words(100) + "..." * 10, words(100) + "..." * 11),
    "bullets": (
        "bullets",
        lines(*("- " + line for line in distinct(9)), *distinct(1)),
        lines(*("• " + line for line in distinct(10))),
    ),
    "ends of lines": (
        "ellipses",
        lines(*distinct(7), *distinct(3, "...")),
        lines(*distinct(6), *distinct(4, "…")),
    ),
    "letters": (
        "alphabetic",
        words(80) + " 12345" * 20,
        words(79) + " 12345" * 21,
    ),
    "lines": ("repeated_lines", repeated(10, 2), repeated(10, 3)),
    "short lines": (
        "repeated_lines",
        lines(*distinct(6), *["x"] * 4),
        lines(*distinct(6), *["x"] * 5),
    ),
    "paragraphs": (
        "repeated_paragraphs",
        repeated(10, 2).replace("\n", "\n\n"),
        repeated(10, 3).replace("\n", "\n\n"),
    ),
}


@pytest.mark.parametrize("rule, kept, dropped", CASES.values(), ids=CASES)
def test_a_document_at_the_threshold_is_kept_and_one_past_it_is_not(
    rule, kept, dropped
):
    function = filters.FILTERS[rule]
    found = function(spans.take_apart([kept, dropped, kept]), Limits())
    assert found.tolist() == [False, True, False]


def test_the_thresholds_are_those_of_the_paper():
    # Rae et al. 2021, appendix A1.1 and its table A1.
    limits = Limits()
    assert (limits.least_words, limits.most_words) == (50, 100_000)
    assert (limits.least_word_length, limits.most_word_length) == (3, 10)
    assert (limits.symbols, limits.bullet_lines, limits.ellipsis_lines) == (
        0.1,
        0.9,
        0.3,
    )
    assert limits.alphabetic_words == 0.8
    assert (limits.repeated_lines, limits.repeated_line_characters) == (0.3, 0.2)
    assert limits.repeated_paragraphs == 0.3
    assert limits.repeated_paragraph_characters == 0.2
    table = filters.TOP | filters.REPEATED
    assert list(table) == list(range(2, 11))
    assert [round(100 * x) for x in table.values()] == [
        20,
        18,
        16,
        15,
        14,
        13,
        12,
        11,
        10,
    ]


def brute_force(text: list[str], n: int) -> float:
    """The share of characters in the commonest n-gram, or in those seen before."""
    total = sum(map(len, text))
    grams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
    if n <= 4:
        counts = Counter(grams)
        sizes = [c * len("".join(g)) for g, c in counts.items() if c > 1]
        return max(sizes, default=0) / total
    marked = set()
    for i, gram in enumerate(grams):
        if gram in grams[:i]:
            marked |= set(range(i, i + n))
    return sum(len(text[i]) for i in marked) / total


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), min_size=2, max_size=40))
def test_repetition_of_word_sequences_is_what_counting_them_finds(text):
    other = ["ccc", "a", "a"] * 5  # a document before and one after, to be kept apart
    found = spans.take_apart([" ".join(one) for one in (other, text, other)]).words
    for n in range(2, 11):
        if n <= 4:
            shares = filters.commonest(found, n)
            bound = filters.most_pairs(found) * (1 if n == 2 else 2)
        else:
            shares = filters.repeated(found, n)
            bound = filters.most_repeated(found, n)
        expected = [brute_force(one, n) for one in (other, text, other)]
        assert shares == pytest.approx(expected)
        assert (bound >= shares - 1e-12).all()


def plainly(text: str, limits: Limits) -> dict[str, bool]:
    """Gopher's rules as one would write them for a single text."""
    words = text.split()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    parts = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    mean = sum(map(len, words)) / max(1, len(words))
    begins = tuple(filters.BULLETS)

    def repeats(parts, share, characters):
        again = [part for place, part in enumerate(parts) if part in parts[:place]]
        size = sum(map(len, again))
        most = characters * sum(map(len, parts))
        return len(again) > share * len(parts) or size > most

    table = filters.TOP | filters.REPEATED
    return {
        "length": not limits.least_words <= len(words) <= limits.most_words,
        "word_length": not 3 <= mean <= 10,
        "symbols": text.count("#") > 0.1 * len(words)
        or text.count("...") + text.count("…") > 0.1 * len(words),
        "bullets": sum(li.startswith(begins) for li in lines) > 0.9 * len(lines),
        "ellipses": sum(li.endswith(("...", "…")) for li in lines) > 0.3 * len(lines),
        "alphabetic": sum(any(map(str.isalpha, word)) for word in words)
        < 0.8 * len(words),
        "repeated_lines": repeats(lines, 0.3, 0.2),
        "repeated_paragraphs": repeats(parts, 0.3, 0.2),
        "repeated_ngrams": any(
            brute_force(words, n) > limits.ngrams * share
            for n, share in table.items()
            if len(words) >= n
        ),
    }


SCRAPS = [
    *("a", "A", "the", "The", "wörter", "слово", "Слово", "語", "ΟΔΟΣ", "οδος", "ἀρχή"),
    *("İ", "é", "e\u0301", "5", "½", "#", "...", "....", "…", "-", "•", "😀", "\ud800"),
    *(" ", " ", " ", "\n", "\n", "\n\n", "\r\n", "\t", "\x0b", "\x1c", "\x1f", "\x85"),
    *("\xa0", "\u2003", "\u2028", "\u2029", "\u3000", "\u200b", "\n \n", "\0"),
]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.lists(st.sampled_from(SCRAPS), max_size=60).map("".join),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([1.0, 2.0, 4.0]),
)
def test_many_texts_at_once_fail_the_rules_that_each_fails_alone(texts, ngrams):
    limits = Limits(least_words=3, most_words=20, ngrams=ngrams)
    expected = [plainly(text, limits) for text in texts]
    apart = spans.take_apart(texts)
    for name, rule in filters.FILTERS.items():
        found = rule(apart, limits).tolist()
        assert found == [one[name] for one in expected], name
    firsts = [next((n for n, bad in one.items() if bad), None) for one in expected]
    for folded in (False, True):
        assert filters.reasons(spans.take_apart(texts, folded=folded), limits) == firsts


def test_what_only_differs_by_case_is_no_repetition():
    text = "\n\n".join([words(30), words(30).upper(), words(30).title()])
    assert reason(text, Limits()) is None
    for name in filters.REPETITIONS:
        assert reason(text, Limits(), (name,)) is None
        assert reason(text.lower(), Limits(), (name,)) == name


def test_repeated_word_sequences_are_dropped():
    # 100 words; the last 10 or 20 repeat the first: 10 % or 20 % of each n-gram's.
    text = words(100).split()
    tenth, fifth = text[:90] + text[:9] + ["x"], text[:80] + text[:20]
    apart = spans.take_apart([" ".join(tenth), " ".join(fifth)])
    assert filters.repeated_ngrams(apart, Limits()).tolist() == [False, True]
    assert not filters.repeated_ngrams(apart, Limits(ngrams=3.0)).any()


@pytest.mark.parametrize("n, least", [(2, 11), (3, 7), (4, 5)])
def test_the_commonest_sequence_is_found_where_no_shorter_one_is_too_common(n, least):
    # 100 words of one length; each time makes n % of the characters, and of n - 1
    # words in a row n - 1 %. The words around differ, so nothing longer repeats.
    def text(times):
        phrase = [f"same{place}" for place in range(n)]
        parts = [part for time in range(times) for part in (*phrase, f"ab{time:03}")]
        return " ".join(parts + [f"x{place:04}" for place in range(100 - len(parts))])

    texts = [text(least - 1), text(least)]
    assert [len(one.split()) for one in texts] == [100, 100]
    found = filters.repeated_ngrams(spans.take_apart(texts), Limits())
    assert found.tolist() == [False, True]


def test_the_first_rule_that_fails_is_the_reason():
    short = "# # #"
    assert reason(short, Limits()) == "length"
    assert reason(short, Limits(least_words=1)) == "word_length"
    assert reason(short, Limits(), ("symbols",)) == "symbols"
    assert reason(short, Limits(), ()) is None


def test_prose_of_any_alphabet_is_kept():
    greek = LINE.translate(str.maketrans("bcdfghjklmaeioursd", "βγδφχιξκλμαεηιουρσ"))
    for text in (LINE, greek, LINE.upper()):
        assert reason(text, Limits()) is None


def test_text_without_anything_in_it_breaks_no_rule():
    for text in ("", "\n\n", " ", "a"):
        assert reason(text, Limits()) == "length"
        reason(text, Limits(least_words=0))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: filters.chosen(["lenght"]), "--filters 'lenght' is unknown; did you"),
        (lambda: filters.limits_of(["words=3"]), "--limit 'words' is unknown; did"),
        (lambda: filters.limits_of(["symbols=x"]), "--limit 'symbols=x' has no number"),
        (lambda: filters.limits_of(["least_words"]), "write least_words=50"),
    ],
)
def test_what_cannot_be_is_one_line(call, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


def test_limits_and_rules_are_chosen_by_name():
    assert filters.limits_of(["least_words=5"]) == Limits(least_words=5)
    assert filters.chosen(["symbols", "length"]) == ("length", "symbols")
