"""Each filter of logits is what a sort of float64 probabilities says it is.

B batch, V vocabulary, C capacity.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxlm.core.config import ConfigError
from jaxlm.core.filter_values import NUMBERS
from jaxlm.core.sampling import Sampling
from jaxlm.sampling import cutoffs, draw, filters
from jaxlm.sampling.history import History

apply = jax.jit(filters.apply)


def history(said, prompt=(), rows=1, beyond=9):
    """Equal rows that read `prompt` and said `said`; id `beyond` is in the room left.

    Nothing may read it: it is in the vocabulary, but it was never said.
    """
    real = [*prompt, *said]
    tokens = np.array([*real, *[beyond] * (12 - len(real))], np.int32)
    return History(
        jnp.asarray(np.tile(tokens, (rows, 1))),
        jnp.full(rows, len(prompt)),
        jnp.full(rows, len(real)),
        jnp.zeros(rows, jnp.int32),
    )


def run(settings, logits, said=(), prompt=()):
    """Logits (B, V) or (V,) after a chain, as an array of the same shape."""
    logits_BV = jnp.atleast_2d(jnp.asarray(logits, jnp.float32))
    chain = filters.chain(settings, logits_BV.shape[1])
    found = apply(chain, logits_BV, history(said, prompt, len(logits_BV)))
    return np.asarray(found).reshape(np.shape(logits))


def kept(settings, logits):
    return np.isfinite(run(settings, logits))


def log(*probs):
    return np.log(np.array(probs))


def random_rows(rows=64, size=37, seed=0, steps=None):
    """Logits of all scales; many of a row are equal where `steps` is given."""
    rng = np.random.default_rng(seed)
    logits_BV = rng.normal(size=(rows, size)) * rng.uniform(0.1, 6, size=(rows, 1))
    if steps:
        logits_BV = np.round(logits_BV * steps) / steps
    return logits_BV.astype(np.float32)


# What each filter keeps of one row, from float64 probabilities and a full sort.


def brute_top_k(logits_V, k):
    return logits_V >= np.sort(logits_V)[-min(int(k), len(logits_V))]


def brute_top_p(logits_V, p):
    """The shortest beginning of the order that reaches p; of equals, the first."""
    order = np.argsort(-logits_V, kind="stable")
    mass = np.cumsum(scipy.special.softmax(logits_V.astype(np.float64))[order])
    kept_V = np.zeros(len(logits_V), bool)
    kept_V[order[: np.searchsorted(mass, p) + 1]] = True
    return kept_V


def brute_min_p(logits_V, p):
    probs_V = scipy.special.softmax(logits_V.astype(np.float64))
    return probs_V >= p * probs_V.max()


def brute_typical(logits_V, p):
    probs_V = scipy.special.softmax(logits_V.astype(np.float64))
    far_V = np.abs(-np.log(probs_V) - scipy.stats.entropy(probs_V)).round(9)
    order = np.argsort(far_V, kind="stable")
    last = np.searchsorted(np.cumsum(probs_V[order]), p)
    return far_V <= far_V[order[min(last, len(order) - 1)]]


def brute_epsilon(logits_V, cutoff):
    probs_V = scipy.special.softmax(logits_V.astype(np.float64))
    return (probs_V >= cutoff) | (probs_V == probs_V.max())


def brute_eta(logits_V, cutoff):
    probs_V = scipy.special.softmax(logits_V.astype(np.float64))
    spread = np.exp(-scipy.stats.entropy(probs_V))
    return brute_epsilon(logits_V, min(cutoff, np.sqrt(cutoff) * spread))


BRUTE = {
    "top_k": (brute_top_k, (1, 2, 5, 36, 37, 1000)),
    "top_p": (brute_top_p, (0.01, 0.3, 0.5, 0.9, 0.999)),
    "min_p": (brute_min_p, (0.0, 0.05, 0.4, 0.99)),
    "typical": (brute_typical, (0.01, 0.2, 0.5, 0.95)),
    "epsilon": (brute_epsilon, (0.0, 3e-4, 0.02, 0.6)),
    "eta": (brute_eta, (0.0, 3e-4, 0.02, 0.6)),
}
CASES = [(name, value) for name, (_, values) in BRUTE.items() for value in values]


@pytest.mark.parametrize("steps", [None, 1], ids=["apart", "tied"])
@pytest.mark.parametrize("name, value", CASES)
def test_what_is_kept_is_what_a_full_sort_keeps(name, value, steps):
    logits_BV = random_rows(steps=steps)
    found_BV = run([(name, value)], logits_BV)
    expected_BV = np.array([BRUTE[name][0](row_V, value) for row_V in logits_BV])
    np.testing.assert_array_equal(np.isfinite(found_BV), expected_BV)
    np.testing.assert_array_equal(found_BV[expected_BV], logits_BV[expected_BV])


@pytest.mark.parametrize("name, value", CASES)
def test_what_an_earlier_filter_removed_has_no_part_in_a_later_one(name, value):
    """Equal to the same filter on the kept tokens alone."""
    logits_V = random_rows(rows=1)[0]
    banned = [3, 4, 17]
    found_V = run([("banned", banned), (name, value)], logits_V)
    alone_V = run([(name, value)], np.delete(logits_V, banned))
    np.testing.assert_array_equal(np.delete(found_V, banned), alone_V)
    assert not np.isfinite(found_V[banned]).any()


def test_top_p_keeps_the_smallest_set_with_the_token_that_crosses():
    probs = log(0.4, 0.3, 0.2, 0.1)
    for p, size in [(0.39, 1), (0.41, 2), (0.69, 2), (0.71, 3), (0.91, 4), (1.0, 4)]:
        assert kept([("top_p", p)], probs).tolist() == [True] * size + [False] * (
            4 - size
        )


def test_top_p_of_equal_tokens_keeps_as_many_as_reach_p_the_first_ones():
    assert kept([("top_p", 0.4)], np.zeros(5)).tolist() == [1, 1, 0, 0, 0]
    assert kept([("top_p", 1e-9)], np.zeros(5)).tolist() == [1, 0, 0, 0, 0]


def test_top_k_keeps_all_that_equal_the_kth():
    assert kept([("top_k", 2)], [1.0, 3.0, 1.0, 0.0]).tolist() == [1, 1, 1, 0]


def test_typical_leaves_out_the_most_likely_token_where_it_is_not_expected():
    """1.290 nats are expected; the surprises are 0.916, 1.386 twice and 2.303."""
    probs = log(0.4, 0.25, 0.25, 0.1)
    assert kept([("typical", 0.3)], probs).tolist() == [0, 1, 1, 0]


def test_eta_is_looser_than_epsilon_where_everything_is_open():
    """Of 1000 nearly equal ones exp(-entropy) is 1e-3: min(0.01, 0.1 x 1e-3)."""
    probs = np.log([*[0.9995 / 999] * 999, 0.0005])
    assert kept([("eta", 0.01)], probs).all()
    epsilon = kept([("epsilon", 0.001)], probs)
    assert epsilon[:999].all() and not epsilon[999]


@pytest.mark.parametrize("name", ["top_p", "typical"])
def test_mass_one_keeps_what_float32_cannot_add(name):
    logits = [0.0, -30.0, -200.0]
    assert kept([(name, 1.0)], logits).all()


EXTREMES = [
    [0.0, -0.0, 1e-45, -1e-45],
    [3e38, -3e38, 1.0, -1.0],
    [-5.0, -6.0, -7.0, -np.inf],
    [2.0, 2.0, 2.0, 2.0],
    [1.0, -np.inf, -np.inf, -np.inf],
]


@pytest.mark.parametrize("logits", EXTREMES, ids=str)
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k_is_exact_at_the_ends_of_the_floats(logits, k):
    logits = np.array(logits, np.float32)
    # JAX takes the smallest numbers, below 1e-38, for 0.
    logits = np.where(np.abs(logits) < 1e-38, 0, logits)
    expected = (logits >= np.sort(logits)[-k]) & np.isfinite(logits)
    np.testing.assert_array_equal(kept([("top_k", k)], logits), expected)


@pytest.mark.parametrize("value", [0.25, 0.5, 1.0, 2.0])
def test_temperature_divides_log_odds(value):
    logits_BV = random_rows()
    p_BV, q_BV = (
        scipy.special.log_softmax(x.astype(np.float64), axis=-1)
        for x in (logits_BV, run([("temperature", value)], logits_BV))
    )
    expected_BV = (p_BV - p_BV[:, :1]) / value
    np.testing.assert_allclose(q_BV - q_BV[:, :1], expected_BV, rtol=1e-5, atol=1e-6)


def test_temperature_zero_is_greedy_and_takes_the_first_of_equals():
    logits_BV = random_rows(steps=1)
    kept_BV = kept([("temperature", 0.0)], logits_BV)
    np.testing.assert_array_equal(kept_BV.sum(-1), 1)
    np.testing.assert_array_equal(kept_BV.argmax(-1), logits_BV.argmax(-1))


def test_repetition_moves_what_was_read_or_said_towards_less_likely():
    found = run([("repetition", 2.0)], [2.0, -2.0, 1.0, -1.0], said=[1, 1], prompt=[0])
    np.testing.assert_array_equal(found, [1.0, -4.0, 1.0, -1.0])


def test_presence_and_frequency_count_what_was_said_and_not_the_prompt():
    logits, said, prompt = [0.0, 0.0, 0.0, 0.0], [1, 1, 1, 2], [0, 0, 1]
    found = run([("presence", 0.5)], logits, said=said, prompt=prompt)
    np.testing.assert_array_equal(found, [0.0, -0.5, -0.5, 0.0])
    found = run([("frequency", 0.5)], logits, said=said, prompt=prompt)
    np.testing.assert_array_equal(found, [0.0, -1.5, -0.5, 0.0])


@pytest.mark.parametrize("name", ["repetition", "presence", "frequency"])
def test_a_penalty_does_not_read_the_room_that_is_left(name):
    found = run([(name, 2.0)], np.ones(10), said=[4])
    np.testing.assert_array_equal(np.flatnonzero(found != 1), [4])


def brute_ngrams(tokens, n):
    """The tokens that would complete an n-gram that `tokens` has already."""
    grams = {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
    return sorted(t for t in range(3) if (*tokens, t)[-n:] in grams)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_ngram_comes_again(n):
    """All texts of 0 to 6 tokens of 3 kinds, of a vocabulary of 4."""
    texts = [t for size in range(7) for t in itertools.product(range(3), repeat=size)]
    tokens = np.zeros((len(texts), 8), np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    said = History(
        jnp.asarray(tokens),
        jnp.asarray([len(text) // 2 for text in texts]),
        jnp.asarray([len(text) for text in texts]),
    )
    chain = filters.chain([("no_repeat_ngram", n)], 4)
    found = np.asarray(apply(chain, jnp.zeros((len(texts), 4)), said))
    for row, text in zip(found, texts, strict=True):
        assert np.flatnonzero(np.isinf(row)).tolist() == brute_ngrams(text, n), text


def test_bias_is_added_and_the_banned_are_gone():
    settings = [("bias", [(0, 1.5), (3, -2.0)]), ("banned", [1])]
    found = run(settings, [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(found, [2.5, -np.inf, 3.0, 2.0])


def test_a_text_begins_with_the_forced_tokens_and_is_free_after_them():
    for said, allowed in [((), [2]), ((2,), [0]), ((2, 0), [0, 1, 2, 3])]:
        found = run([("forced", [2, 0])], np.zeros(4), said=said, prompt=[1, 1])
        assert np.flatnonzero(np.isfinite(found)).tolist() == allowed


def test_no_stop_token_comes_before_enough_tokens_are_said():
    for said, allowed in [((), 2), ((0,), 2), ((0, 0), 4), ((0, 0, 0), 4)]:
        settings = [("min_new_tokens", (2, [1, 3]))]
        found = run(settings, np.zeros(4), said=said, prompt=[0, 0])
        assert np.isfinite(found).sum() == allowed


TABLE_QV = np.array([[1, -1, -1], [-1, 0, 2], [-1, -1, -1]])  # a (b a)* c


def test_a_constraint_allows_the_tokens_that_its_state_has_a_move_for():
    chain = filters.chain([("constraint", TABLE_QV)], 3)
    states = jnp.array([0, 1])
    said = history([], rows=2)._replace(state_B=states)
    found = apply(chain, jnp.zeros((2, 3)), said)
    np.testing.assert_array_equal(np.isfinite(found), TABLE_QV[:2] >= 0)


def test_filters_are_applied_in_the_order_given():
    """(0.5, 0.3, 0.2) squared is (0.66, 0.24, 0.11): which mass is cut depends."""
    warm, cut = ("temperature", 0.5), ("top_p", 0.6)
    assert kept([warm, cut], log(0.5, 0.3, 0.2)).tolist() == [1, 0, 0]
    assert kept([cut, warm], log(0.5, 0.3, 0.2)).tolist() == [1, 1, 0]
    np.testing.assert_allclose(
        scipy.special.softmax(run([cut, warm], log(0.5, 0.3, 0.2))),
        [0.25 / 0.34, 0.09 / 0.34, 0],
        rtol=1e-6,
    )


PROBS = np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05])
# What is drawn after each filter, by hand: proportional to this.
DRAWN = {
    "nothing": ([], PROBS),
    "temperature": ([("temperature", 2.0)], PROBS**0.5),
    "top_k": ([("top_k", 3)], [0.3, 0.25, 0.2, 0, 0, 0]),
    "top_p": ([("top_p", 0.8)], [0.3, 0.25, 0.2, 0.12, 0, 0]),
    "min_p": ([("min_p", 0.3)], [0.3, 0.25, 0.2, 0.12, 0, 0]),
    # 1.636 nats: 0.2 is 0.027 from it, 0.25 is 0.250, 0.3 is 0.432, 0.12 is 0.484.
    "typical": ([("typical", 0.5)], [0.3, 0.25, 0.2, 0, 0, 0]),
    "epsilon": ([("epsilon", 0.1)], [0.3, 0.25, 0.2, 0.12, 0, 0]),
    # exp(-1.636) is 0.195: the least is min(0.1, 0.316 x 0.195 = 0.062).
    "eta": ([("eta", 0.1)], [0.3, 0.25, 0.2, 0.12, 0.08, 0]),
    "bias": ([("bias", [(5, np.log(4))])], [0.3, 0.25, 0.2, 0.12, 0.08, 0.2]),
    "banned": ([("banned", [0, 3])], [0, 0.25, 0.2, 0, 0.08, 0.05]),
    # Logits are log-probabilities, hence negative: times 2 is the square.
    "repetition": ([("repetition", 2.0)], [0.3, 0.0625, 0.2, 0.12, 0.08, 0.05]),
    "presence": ([("presence", np.log(2))], [0.3, 0.125, 0.2, 0.12, 0.08, 0.05]),
    "frequency": ([("frequency", np.log(2))], [0.3, 0.0625, 0.2, 0.12, 0.08, 0.05]),
    "chain": ([("top_k", 4), ("temperature", 0.5)], [0.09, 0.0625, 0.04, 0.0144, 0, 0]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_after_a_filter_have_the_renormalized_distribution(name):
    """Chi-square over 10^5 draws: p above 1e-4, as of 9,999 in 10,000 right filters.

    Three fifths as much of one token would be found out at any of these sizes: the
    last assertion sees that the test has that power.
    """
    settings, weights = DRAWN[name]
    expected = np.array(weights) / np.sum(weights)
    logits = jnp.asarray(run(settings, np.log(PROBS), said=[1, 1]))
    rows = jnp.broadcast_to(logits.reshape(1, -1), (100_000, logits.size))
    draws = np.asarray(draw.draw(rows, jax.random.split(jax.random.key(11), 100_000)))
    counts = np.bincount(draws, minlength=len(PROBS))
    left = expected > 0
    assert counts[~left].sum() == 0

    def p_value(probs):
        return scipy.stats.chisquare(counts[left], probs * counts.sum()).pvalue

    assert p_value(expected[left]) > 1e-4
    wrong = expected[left] * ([0.6] + [1.0] * (left.sum() - 1))
    assert p_value(wrong / wrong.sum()) < 1e-4


def test_draws_from_many_words_have_their_probabilities_and_never_what_is_removed():
    """Chi-square of 200,000 draws over 2,000 words, of which half are removed."""
    rng = np.random.default_rng(0)
    logits = np.where(rng.random(2000) < 0.5, -np.inf, rng.normal(size=2000))
    logits = np.float32(logits)
    rows = jnp.broadcast_to(jnp.asarray(logits)[None], (20_000, 2000))
    keys = jax.random.split(jax.random.key(5), (10, 20_000))
    draws = np.concatenate([np.asarray(jax.jit(draw.draw)(rows, key)) for key in keys])
    counts = np.bincount(draws, minlength=2000)
    left = logits > -np.inf
    assert counts[~left].sum() == 0
    expected = scipy.special.softmax(np.float64(logits[left])) * len(draws)
    assert scipy.stats.chisquare(counts[left], expected).pvalue > 1e-4


EVERY = [
    [("temperature", t), ("top_k", k), ("top_p", p), ("min_p", p / 9), ("typical", p)]
    + [("epsilon", p / 99), ("eta", p / 99), ("repetition", t), ("presence", t)]
    + [("frequency", t), ("no_repeat_ngram", k)]
    for t, k, p in [(0.5, 1, 0.5), (0.0, 2, 1.0), (2, 3.0, 0.9)]
]
IDS = [
    [("bias", bias), ("banned", banned), ("forced", forced), ("constraint", table)]
    + [("min_new_tokens", (count, stop))]
    for bias, banned, forced, table, count, stop in [
        ([], [1], [0, 2], np.zeros((2, 5), np.int32), 1, [4]),
        ([(1, 2.0), (2, 1.0)], [3, 1], [2, 0], np.ones((2, 5), np.int32), 3, [4, 1]),
    ]
]


def test_another_value_compiles_nothing_and_another_name_does():
    traces = []

    @jax.jit
    def filtered(chain, logits_BV, said):
        traces.append(chain.names)
        return filters.apply(chain, logits_BV, said)

    positive = [[(n, v or 1.0) for n, v in settings] for settings in EVERY]
    for settings in (*positive, *IDS):
        chain = filters.chain(settings, 5)
        jax.block_until_ready(filtered(chain, jnp.zeros((1, 5)), history([1, 2])))
    assert traces == [tuple(n for n, _ in which[0]) for which in (EVERY, IDS)]


ROOM = {name: value for settings in EVERY for name, value in settings if value} | {
    "bias": [(0, 3.0)],
    "banned": [0],
    "forced": [0, 0],
    "constraint": np.array([[0, 0]]),
    "min_new_tokens": (5, [1]),
}


def test_every_filter_is_tried_here():
    assert set(filters.FILTERS) == set(ROOM)
    assert set(NUMBERS) < set(filters.FILTERS)


@pytest.mark.parametrize("seed", range(8))
def test_a_token_is_always_left(seed):
    """Of two words that are all said, banned or forbidden; in any order that may be."""
    order = np.random.default_rng(seed).permutation(sorted(ROOM)).tolist()
    order.sort(key=lambda name: name not in filters.OBEYED)
    for left_out in ("forced", "banned"):  # together they are refused
        names = [name for name in order if name != left_out]
        chain = filters.chain([(name, ROOM[name]) for name in names], 2)
        for said, logits in [((), (0, 0)), ((1,), (0, 9)), ((0, 1, 0, 1, 1), (9, 0))]:
            found = apply(chain, jnp.array([logits], jnp.float32), history(said))
            assert np.isfinite(found).any() and not np.isnan(found).any()


def test_a_filter_that_would_leave_no_token_is_passed_over():
    """All of two words are said, so that nothing new is left; the ban stays."""
    found = run([("no_repeat_ngram", 1)], [1.0, 2.0], said=[0, 1])
    np.testing.assert_array_equal(found, [1.0, 2.0])
    found = run([("banned", [1]), ("no_repeat_ngram", 1)], [1.0, 2.0], said=[0])
    np.testing.assert_array_equal(found, [1.0, -np.inf])
    found = run([("banned", [0]), ("min_new_tokens", (1, [1]))], [1.0, 2.0])
    np.testing.assert_array_equal(found, [-np.inf, 2.0])


REFUSED = {
    "unknown": ([("topk", 3)], "sampling.filters 'topk' is unknown; did you mean"),
    "top_p": (
        [("top_p", 1.5)],
        "sampling.filters top_p 1.5 is out of range; give a number in (0, 1]",
    ),
    "twice": ([("top_k", 3), ("top_k", 4)], "sampling.filters 'top_k' is given 2 time"),
    "beyond": ([("banned", [5])], "sampling.banned [5] is not in the vocabulary of 5;"),
    "below": ([("forced", [-1])], "sampling.forced [-1] is not in the vocabulary of 5"),
    "bias": ([("bias", [(9, 1.0)])], "sampling.bias [9] is not in the vocabulary of"),
    "infinite": ([("bias", [(0, -np.inf)])], "sampling.bias -inf of token 0 is no num"),
    "all": ([("banned", range(5))], "sampling.banned has all 5 tokens of the vocabula"),
    "none": ([("forced", [])], "sampling.forced () has no ids; leave it out"),
    "both": (
        [("banned", [1, 2]), ("forced", [2])],
        "sampling.forced and sampling.banned both have [2]; remove them from one",
    ),
    "stop": (
        [("forced", [1, 4]), ("min_new_tokens", (2, [4]))],
        "sampling.forced has [4], which ends a text, among the first 2 tokens",
    ),
    "endless": (
        [("min_new_tokens", (2, []))],
        "sampling.min_new_tokens 2 does nothing where no token ends a text; give",
    ),
    "size": (
        [("constraint", TABLE_QV)],
        "the constraint's table has 3 tokens and the vocabulary 5; compile it",
    ),
    "late": (
        [("top_k", 1), ("banned", [3])],
        "sampling.filters 'banned' after 'top_k' may find none of its tokens left; put",
    ),
    "greedy": (
        [("temperature", 0.0), ("forced", [3])],
        "sampling.filters 'forced' after 'temperature' may find none",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_contradicts_itself_is_refused_in_one_line(name):
    settings, message = REFUSED[name]
    with pytest.raises(ConfigError) as error:
        filters.chain(settings, 5)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value) and ";" in str(error.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ([("forced", [0, 0])], "sampling.forced token 0 does not fit the constraint;"),
        (
            [("banned", [0])],
            r"sampling.banned has \[0\], all that the constraint allow",
        ),
        ([("banned", [1, 2])], r"sampling.banned has \[1, 2\], all that the constrain"),
    ],
    ids=["forced", "start", "later"],
)
def test_what_a_constraint_has_no_way_for_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        filters.chain([*settings, ("constraint", TABLE_QV)], 3)


def test_a_constraint_may_lose_tokens_that_it_can_do_without():
    for settings in ([("forced", [0, 1])], [("banned", [1])]):
        filters.chain([*settings, ("constraint", TABLE_QV)], 3)


def test_settings_put_what_must_be_obeyed_first():
    settings = Sampling(
        filters=(("top_k", 2), ("repetition", 1.2)),
        bias=((1, 1.0),),
        banned=(2,),
        forced=(0,),
        min_new_tokens=1,
    )
    chain = filters.from_settings(settings, 3, stop_ids=[1], table_QV=TABLE_QV)
    first = ("bias", "banned", "forced", "constraint", "min_new_tokens")
    assert chain.names == (*first, "top_k", "repetition")
    assert filters.from_settings(Sampling(), 3).names == ("temperature",)
    assert filters.from_settings(Sampling(strategy="greedy"), 3).names == ()


def test_the_highest_number_is_found_whatever_its_sign_and_size():
    ends = [-3e38, -1.0, -0.0, 1e-30, 0.1, 7.0, 3e38]
    values_BV = jnp.array([ends] * len(ends), jnp.float32)
    cut_B = jnp.array(ends, jnp.float32)
    found_B = cutoffs.highest(lambda x_B: x_B <= cut_B, values_BV)
    # In JAX, for which the smallest numbers, below 1e-38, equal 0.
    assert (found_B == cut_B).all()
    low_B = cutoffs.highest(lambda x_B: x_B > jnp.inf, values_BV)
    np.testing.assert_array_equal(low_B, values_BV[:, 0])
