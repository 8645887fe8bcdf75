"""The settings of a comparison of strategies on one trained model."""

from dataclasses import dataclass, fields

from jaxlm.core.checks import require
from jaxlm.core.filter_values import check_number
from jaxlm.core.sampling import DRAWING, INT32, Sampling

# What a line may say of itself: the rest is alike for all, or would end texts early.
OWN = (
    *("strategy", "filters", "beams", "groups", "diversity", "length_penalty"),
    *("early_stopping", "best_of", "alpha", "candidates", "bias", "banned", "cache"),
)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Held-out text, continued by the strategy of each line at each temperature.

    A strategy that draws nothing has no temperature, and is a single point.
    """

    # The name of each and how it samples; a temperature in its filters is replaced.
    lines: tuple[tuple[str, Sampling], ...] = (("ancestral", Sampling(filters=())),)
    temperatures: tuple[float, ...] = (0.5, 0.7, 0.85, 1.0, 1.15, 1.3)
    path: str = ""  # files of text, in place of what the run had held out
    prompts: int = 200  # texts, each continued once by every point
    prompt_tokens: int = 32
    new_tokens: int = 64
    rows: int = 50  # prompts that are continued at once
    seed: int = 0

    def __post_init__(self):
        for name in ("prompts", "prompt_tokens", "new_tokens", "rows"):
            value = getattr(self, name)
            require(value >= 1, f"config.{name} {value} is below 1; give more")
        require(
            self.prompts >= 20,
            f"config.prompts {self.prompts} are too few to compare; give 20 or more",
        )
        require(
            0 <= self.seed <= INT32 - self.prompts,
            f"config.seed {self.seed} is out of range; give 0 to 2,000,000,000",
        )
        for value in self.temperatures:
            check_number("temperature", value)
        for name in ("lines", "temperatures"):
            value = [x[0] if name == "lines" else x for x in getattr(self, name)]
            require(
                value and len({*value}) == len(value),
                f"config.{name} {tuple(value)} are none, or not all different; give "
                "each once",
            )
        for name, settings in self.lines:
            self._check_line(name, settings)

    def _check_line(self, name: str, settings: Sampling) -> None:
        for field in fields(settings):
            value = getattr(settings, field.name)
            require(
                field.name in OWN or value == field.default,
                f"config.lines {name!r} has sampling.{field.name} {value!r}, which is "
                f"alike for all lines; leave it out, or choose of {', '.join(OWN)}",
            )
        require(
            settings.strategy != "speculative",
            f"config.lines {name!r} is speculative, which draws what 'sample' draws; "
            "choose sample",
        )

    def drawn(self, settings: Sampling) -> bool:
        """Whether the strategy draws, and so has temperatures."""
        return settings.strategy in DRAWING
