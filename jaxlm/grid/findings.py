"""What the table of a grid says, in sentences, and what it does not say."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

EQUAL = {
    "params": "parameters",
    "flops": "FLOPs a token",
    "depth": "the depth of each side",
}


def asked(rows: Sequence[Mapping]) -> bool:
    """Whether the models were asked questions."""
    return any(row["questions"] for row in rows)


def abstract(direct: Sequence[Mapping], facts: Mapping[str, Any]) -> str:
    """What was compared, and who won by how much."""
    text = (
        f"{len(direct)} models, each another pair of architecture and objective, "
        f"learned from the same text in {direct[0]['steps']:,.0f} steps of about "
        f"{direct[0]['tokens_a_step']:,.0f} tokens. "
    )
    return text + (winner(direct, facts) if asked(direct) else margins(direct))


def margins(direct: Sequence[Mapping]) -> str:
    """How many learned more than counting tokens tells, and how much."""
    most = sorted(direct, key=lambda row: row["loss"] - row["entropy"])
    below = [row for row in most if row["loss"] < row["entropy"]]
    count = "All" if len(below) == len(direct) else f"{len(below)}"
    text = (
        f"{count} of them predict held-out targets better than how often each "
        "target occurs, whose entropy is what counting reaches"
    )
    if below:
        ends = [
            f"{row['entropy'] - row['loss']:.2f} nats (the {words(row['kind'])} with "
            f"{row['objective']})"
            for row in (below[-1], below[0])
        ]
        text += f": by {ends[0]} to {ends[1]}"
    slowest = max(row["seconds"] for row in direct)
    return f"{text}. None took longer than {math.ceil(slowest)} s."


def winner(direct: Sequence[Mapping], facts: Mapping[str, Any]) -> str:
    """Who answers best, and who may be as good."""
    best, *others = sorted(direct, key=lambda row: -row["accuracy"])
    text = (
        "None was trained to answer: each then chose, by likelihood, among "
        f"{1 / best['chance']:.0f} continuations of {facts['continuation']} tokens for "
        f"{best['questions']:,.0f} beginnings of {facts['context']} tokens from "
        "documents that it had not seen. Most often right is the "
        f"{words(best['kind'])} with objective {best['objective']}: {percent(best)}, "
        f"where guessing reaches {100 * best['chance']:g} %."
    )
    near = [
        f"the {words(row['kind'])} with {row['objective']} ({percent(row)})"
        for row in others
        if not apart(best, row)
    ]
    if near:
        text += (
            f" Nearer to it than two standard errors, and perhaps as good: "
            f"{', '.join(near)}."
        )
    return text


def apart(a: Mapping, b: Mapping) -> bool:
    """Whether two accuracies differ by more than two standard errors of a difference.

    As if each had questions of its own; on the same ones the error is mostly smaller.
    """
    error = math.hypot(a["stderr"], b["stderr"])
    return abs(a["accuracy"] - b["accuracy"]) > 2 * error


def caveats(direct: Sequence[Mapping], facts: Mapping[str, Any]) -> list[str]:
    """What the table cannot say."""
    params = [row["params"] for row in direct]
    flops = [row["flops_a_token"] for row in direct]
    sentences = [
        f"Models are equal in {EQUAL[facts['equal']]}, as near as whole layers and "
        f"hidden widths in steps of 8 allow: parameters are {min(params):,.0f} to "
        f"{max(params):,.0f}, training FLOPs a token {min(flops):,.0f} to "
        f"{max(flops):,.0f}. What is equal in one differs in the other.",
        "Losses of different objectives have different targets. Compare each with the "
        "entropy of its own, and not with the loss of another column.",
        "Tokens a step are those that are read, padding among them. Causal models "
        "predict all of them, the others a part.",
    ]
    if asked(direct):
        sentences += _of_questions(direct, facts)
    idle = [row["name"] for row in direct if row["loss"] >= row["entropy"]]
    if idle:
        sentences.append(
            f"{', '.join(idle)} learned no more than how often each token occurs."
        )
    return sentences + [
        "One run a pair, with one learning rate for all: seeds and better rates may "
        "change the order. Small models of bytes say little of large ones of words."
    ]


def _of_questions(direct: Sequence[Mapping], facts: Mapping[str, Any]) -> list[str]:
    """Where questions are not what a model was trained for."""
    pairs = {(row["kind"], row["objective"]) for row in direct}
    sentences = []
    if ("encoder", "masked") in pairs:
        sentences.append(
            "An encoder answers by pseudo-likelihood (Salazar et al. 2020), which sees "
            "the rest of an option while it names one of its tokens: no likelihood, "
            "and not what the others are asked."
        )
    if any(name == "span" for _, name in pairs):
        sentences.append(
            f"Span corruption never hid as many as {facts['continuation']} tokens at "
            "the end of a text, which is how its models are asked here."
        )
    tokens, half = facts["context"] + facts["continuation"], facts["model_context"] // 2
    if ("encoder_decoder", "masked") in pairs and tokens > half:
        sentences.append(
            f"The encoder-decoder that learned from masks has {tokens} tokens of a "
            f"question on either side, and learned from {half}."
        )
    return sentences


def percent(row: Mapping) -> str:
    """'41.2 ± 1.6 %'."""
    return f"{100 * row['accuracy']:.1f} ± {100 * row['stderr']:.1f} %"


def words(kind: str) -> str:
    """'prefix_decoder' as it is said."""
    return kind.replace("encoder_decoder", "encoder-decoder").replace("_", " ")
