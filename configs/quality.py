"""The trade between quality and diversity, over eleven strategies and six temperatures.

200 held-out texts, 32 tokens of each continued by 64 more in 46 ways, and read by a
larger model. Models of 166,208 and 922,752 parameters first learn the same 1,024 byte
pairs of the embedded prose, in ten minutes on two CPU cores; this takes one more.
MAUVE, 0.96 between two sets of people's texts, is highest near temperature 1: 0.88 to
0.93 under top-k, nucleus, typical and eta sampling, 0.82 without a filter. Greedy
search and beams have the lowest perplexities, 8 and 5 where people's text has 25, and a
MAUVE of 0.04 at most: a third to a half of what they say they have said before.

    python -m experiments.pretrain --config=configs/tiny.py --workdir=runs/tiny \\
        --config.data.tokenizer=bpe --config.data.tokenizer_size=1024 \\
        --config.train.steps=1500
    python -m experiments.pretrain --config=configs/tiny.py --workdir=runs/wide \\
        --config.data.tokenizer=bpe --config.data.tokenizer_size=1024 \\
        --config.train.steps=2000 --config.optimizer.learning_rate=2e-3 \\
        --config.model.width=128 --config.model.depth=4
    python -m experiments.quality --config=configs/quality.py --model=runs/tiny \\
        --scorer=runs/wide --workdir=runs/quality
"""

from jaxlm.core import schema


def get_config():
    config = schema.quality_defaults()
    config.lines = (
        ("ancestral", drawn()),
        ("top-k 40", drawn(("top_k", 40.0))),
        ("nucleus 0.9", drawn(("top_p", 0.9))),
        ("min-p 0.1", drawn(("min_p", 0.1))),
        ("typical 0.9", drawn(("typical", 0.9))),
        ("eta 0.002", drawn(("eta", 0.002))),
        ("best of 8", schema.Sampling(strategy="best_of", best_of=8, filters=())),
        ("greedy", schema.Sampling(strategy="greedy")),
        ("beam 4", schema.Sampling(strategy="beam")),
        ("diverse beam 4", schema.Sampling(strategy="diverse_beam")),
        ("contrastive", schema.Sampling(strategy="contrastive")),
    )
    return config


def drawn(*filters):
    """Token by token, from what these leave."""
    return schema.Sampling(filters=filters)
