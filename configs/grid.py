"""Which architecture and objective choose best? Wang et al. 2022, made small.

Four kinds of model times five objectives (arXiv 2204.05832): the twelve pairs that make
sense are trained on the same English prose, byte by byte, with equal parameters, and
then choose among four continuations of held-out text, without having been taught to.
Two go on as the paper's adaptations do: a causal decoder to span corruption, and a
span-corrupting prefix decoder to causal modeling. Models of 220,000 parameters; six
minutes on two CPU cores. Right answers of decoders, one standard error 2 points: causal
46 %, prefix 40 %, UL2 31 to 34 %, span corruption 27 %, 35 % once adapted; guessing is
right in 25 %. With equal FLOPs a token: --config.grid.equal=flops.

    python -m experiments.grid --config=configs/grid.py --workdir=runs/grid

With `:objectives` all eight objectives, of three kinds of model, each for 600 steps and
without questions: the page has the curve of each beside the entropy of its targets.
Embedded prose, a paragraph and its next as a pair; three minutes.

    python -m experiments.grid --config=configs/grid.py:objectives \\
        --workdir=runs/objectives

With `:paper` the models are those of table 1 there: 4.8 billion parameters, and 11.0
for encoder-decoders, which have as many layers on either side; 168 billion tokens each,
in steps of 2048 times 626, and a tenth as many to adapt. It optimizes by AdamW, where
the paper has Adafactor, and learns its ids from C4's text, where the paper has T5's.
For GPU nodes; C4's English files (allenai/c4) are filtered and without duplicates as
they are:

    python -m experiments.prepare --source='c4/c4-train.*.json.gz' --out=data/c4 \\
        --tokenizer=bpe --tokenizer_size=32000 --held_out=0.01 --filters=none --near=0
    python -m experiments.grid --config=configs/grid.py:paper --workdir=runs/paper \\
        --config.mesh.fsdp=8 --config.mesh.data=-1
"""

from jaxlm.core import schema

KINDS = ("causal_decoder", "prefix_decoder", "encoder_decoder", "encoder")
OBJECTIVES = ("causal", "prefix", "masked", "span", "ul2")
ALL = (*OBJECTIVES, "denoise", "conditional", "mixture")
ADAPT = (
    ("causal_decoder", "causal", "prefix_decoder", "span"),
    ("prefix_decoder", "span", "causal_decoder", "causal"),
)


def get_config(arg: str = ""):
    grids = {"": small, "objectives": objectives, "paper": paper}
    if arg not in grids:
        raise ValueError(
            f"{arg!r} is none of these grids; give objectives, paper, or nothing"
        )
    return grids[arg]()


def small():
    """Four layers of width 64."""
    config = schema.defaults()
    config.model.context = 128
    config.model.width = 64
    config.model.depth = 4
    config.model.heads = 4
    config.model.positions = "rope"
    config.model.norm = "rms"
    config.model.biases = "none"
    config.data.batch = 8
    config.data.held_out = 0.1
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 700
    config.evaluation.every = 350
    config.evaluation.batches = 40
    config.checkpoint.every = 350
    config.checkpoint.keep = 1
    config.grid.kinds = KINDS
    config.grid.objectives = OBJECTIVES
    config.grid.adapt = ADAPT
    config.grid.adapt_steps = 200
    return config


def objectives():
    """Everything that there is to learn from."""
    config = small()
    config.data.source = "paragraphs"
    config.objective.mixture = (("prefix", 1.0), ("span", 1.0), ("denoise", 1.0))
    config.train.steps = 600
    config.grid.kinds = ("causal_decoder", "encoder_decoder", "encoder")
    config.grid.objectives = ALL
    config.grid.adapt = ()
    config.grid.questions = 0
    return config


def paper():
    """T5's layers as wide as its XXL's, with tied embeddings."""
    config = small()
    config.model.vocab_size = 32_128
    config.model.context = 626
    config.model.width = 4096
    config.model.depth = 24
    config.model.heads = 64
    config.model.mlp = "geglu"
    config.model.mlp_width = 10_240
    config.model.norm_epsilon = 1e-6
    config.model.positions = "buckets"
    config.model.logit_scale = 4096**-0.5
    config.model.score_scale = 1.0
    config.model.compute = "bfloat16"
    config.model.remat = "full"
    config.data.source = "prepared"
    config.data.path = "data/c4"
    config.data.tokenizer = "bpe"
    config.data.tokenizer_size = 32_000
    config.data.batch = 2048
    config.data.held_out = 0.01
    config.mesh.rules = "fsdp"
    config.optimizer.learning_rate = 2e-4
    config.train.accumulation = 32
    config.train.loss_chunks = 4
    config.train.steps = 131_072
    config.schedule.warmup_steps = 10_000
    config.evaluation.every = 5000
    config.checkpoint.every = 1000
    config.grid.equal = "depth"
    config.grid.adapt_steps = 13_107
    config.grid.questions = 2000
    return config
