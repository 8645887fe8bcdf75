"""Each filter of logits equals the processor of `transformers`, tokens and values.

B batch, V vocabulary, T what was read and said.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers import torch, transformers

from jaxlm.sampling import filters
from jaxlm.sampling.history import History

pytestmark = pytest.mark.parity

apply = jax.jit(filters.apply)
ROWS, SIZE, READ, SAID = 24, 311, 6, 40


def peer(name, value):
    """The processor of transformers that does what our filter does."""
    from transformers.generation import logits_process as theirs

    if name == "bias":
        value = {(token,): number for token, number in value}
    if name == "banned":
        value = [[token] for token in value]
    make = {
        "temperature": theirs.TemperatureLogitsWarper,
        "top_k": theirs.TopKLogitsWarper,
        "top_p": theirs.TopPLogitsWarper,
        "min_p": theirs.MinPLogitsWarper,
        "typical": theirs.TypicalLogitsWarper,
        "epsilon": theirs.EpsilonLogitsWarper,
        "eta": theirs.EtaLogitsWarper,
        "repetition": theirs.RepetitionPenaltyLogitsProcessor,
        "no_repeat_ngram": theirs.NoRepeatNGramLogitsProcessor,
        "bias": theirs.SequenceBiasLogitsProcessor,
        "banned": theirs.NoBadWordsLogitsProcessor,
        "min_new_tokens": lambda asked: theirs.MinNewTokensLengthLogitsProcessor(
            READ, asked[0], list(asked[1])
        ),
    }
    return make[name](value)


def question(seed, steps=None, kinds=SIZE):
    """Logits of all scales, and ids of which few kinds are there, so that they repeat.

    steps: of logits that are rounded, as bfloat16 ones are, so that many are equal.
    """
    rng = np.random.default_rng(seed)
    logits_BV = rng.normal(size=(ROWS, SIZE)) * rng.uniform(0.2, 6, size=(ROWS, 1))
    if steps:
        logits_BV = np.round(logits_BV * steps) / steps
    tokens_BT = rng.integers(kinds, size=(ROWS, READ + SAID))
    return logits_BV.astype(np.float32), tokens_BT


def ours(settings, logits_BV, tokens_BT):
    room_BC = np.pad(tokens_BT, ((0, 0), (0, 5)), constant_values=7)
    history = History(
        jnp.asarray(room_BC, jnp.int32),
        jnp.full(ROWS, READ),
        jnp.full(ROWS, tokens_BT.shape[1]),
    )
    return np.asarray(apply(filters.chain(settings, SIZE), logits_BV, history))


def expected(settings, logits_BV, tokens_BT):
    chain = [peer(name, value) for name, value in settings]
    found = transformers.LogitsProcessorList(chain)(
        torch.tensor(tokens_BT), torch.tensor(logits_BV)
    )
    return found.numpy()


def compare(settings, logits_BV, tokens_BT):
    """That the same tokens are left, with logits that differ by rounding.

    Which of several equal ones top_p leaves out is chance in the reference, whose sort
    is not stable: there, that equally many are left, with the same logits.
    """
    found_BV = ours(settings, logits_BV, tokens_BT)
    expected_BV = expected(settings, logits_BV, tokens_BT)
    equal = any(len(np.unique(row)) < SIZE for row in logits_BV)
    if equal and "top_p" in dict(settings):
        found_BV, expected_BV = np.sort(found_BV), np.sort(expected_BV)
    np.testing.assert_array_equal(np.isfinite(found_BV), np.isfinite(expected_BV))
    left_BV = np.isfinite(expected_BV)
    np.testing.assert_allclose(found_BV[left_BV], expected_BV[left_BV], rtol=1e-6)


VALUES = {
    "temperature": (0.3, 0.8, 1.7),
    "top_k": (1, 5, 50, 310, 311, 1000),
    "top_p": (0.05, 0.5, 0.9, 0.99),
    "min_p": (0.0, 0.02, 0.1, 0.7, 1.0),
    "typical": (0.05, 0.2, 0.5, 0.95),
    "epsilon": (3e-4, 9e-4, 0.01, 0.2),
    "eta": (3e-4, 2e-3, 0.01, 0.2),
    "repetition": (0.7, 1.2, 2.0),
    "no_repeat_ngram": (1, 2, 3, 4),
    "bias": ([(3, 2.5), (0, -1.0), (310, 0.125)],),
    "banned": ([5], [0, 17, 310]),
    "min_new_tokens": ((40, (3, 9)), (41, (3, 9)), (60, (0,))),
}
CASES = [(name, value) for name, values in VALUES.items() for value in values]


@pytest.mark.parametrize("steps", [None, 8], ids=["apart", "tied"])
@pytest.mark.parametrize("name, value", CASES)
def test_a_filter_equals_its_peer(name, value, steps):
    for seed in range(4):
        kinds = 4 if name == "no_repeat_ngram" else SIZE
        compare([(name, value)], *question(seed, steps=steps, kinds=kinds))


def test_ngrams_are_found_and_penalties_felt():
    """What is compared above is no comparison of nothing."""
    for name, value, kinds in [("no_repeat_ngram", 3, 4), ("repetition", 1.2, SIZE)]:
        logits_BV, tokens_BT = question(0, kinds=kinds)
        changed_BV = ours([(name, value)], logits_BV, tokens_BT) != logits_BV
        assert changed_BV.any(-1).sum() > ROWS / 2


CHAINS = {
    "usual": [("temperature", 0.7), ("top_k", 50), ("top_p", 0.9)],
    "reversed": [("top_p", 0.9), ("top_k", 50), ("temperature", 0.7)],
    "generate": [
        ("bias", [(4, 2.0), (8, -3.0)]),
        ("banned", [1, 2]),
        ("repetition", 1.3),
        ("no_repeat_ngram", 2),
        ("min_new_tokens", (50, (0,))),
        ("temperature", 1.3),
        ("top_k", 100),
        ("top_p", 0.95),
        ("min_p", 0.01),
        ("typical", 0.9),
        ("epsilon", 1e-3),
        ("eta", 1e-3),
    ],
    "typical first": [("typical", 0.8), ("min_p", 0.05), ("repetition", 0.8)],
    "cut, then warm": [("eta", 0.01), ("temperature", 2.0), ("epsilon", 0.02)],
    "warm, then cut": [("temperature", 2.0), ("epsilon", 0.02), ("eta", 0.01)],
}


@pytest.mark.parametrize("steps", [None, 8], ids=["apart", "tied"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_equals_the_same_chain_of_peers(name, steps):
    for seed in range(4):
        compare(CHAINS[name], *question(seed, steps=steps))


def test_a_constraint_equals_a_function_of_what_was_said():
    """The table of (5 9)*: after a 5 a 9, after a 9 a 5, and nothing else."""
    from transformers.generation import PrefixConstrainedLogitsProcessor

    table_QV = np.full((2, SIZE), -1)
    table_QV[0, 5], table_QV[1, 9] = 1, 0
    logits_BV, tokens_BT = question(0)
    states_B = np.arange(ROWS) % 2
    history = History(
        jnp.asarray(tokens_BT, jnp.int32),
        jnp.full(ROWS, READ),
        jnp.full(ROWS, tokens_BT.shape[1]),
        jnp.asarray(states_B),
    )
    chain = filters.chain([("constraint", table_QV)], SIZE)
    allowed = PrefixConstrainedLogitsProcessor(lambda row, _: [(5, 9)[row % 2]], 1)
    found_BV = allowed(torch.tensor(tokens_BT), torch.tensor(logits_BV)).numpy()
    np.testing.assert_array_equal(apply(chain, logits_BV, history), found_BV)
