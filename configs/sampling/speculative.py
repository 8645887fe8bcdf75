"""What `sample` draws, faster: four tokens are guessed, and the model checks them.

Leviathan et al. 2023 (arXiv 2211.17192): the texts have exactly the model's own
distribution. Guesses are what followed the last three tokens before, which pays where a
text repeats its prompt: code, summaries, corrections. With a smaller model of the same
vocabulary, which guesses anything: --draft=runs/smaller

    python -m experiments.sample --workdir=runs/tiny \\
        --config=configs/sampling/speculative.py
"""

from jaxlm.core import schema


def get_config():
    config = schema.sampling_defaults()
    config.strategy = "speculative"
    config.draft_tokens = 4
    config.ngram = 3
    return config
