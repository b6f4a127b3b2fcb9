"""Which training methods there are; imports no torch.

A method is one module: its docstring names the paper, its class is a `selfdistill.training.method.Method`, and a line
of `METHODS` gives it a name.
"""

from typing import Any

from selfdistill import entries

# A registry (`entries`), by the method's name in the configuration.
METHODS = {
    "grpo": "selfdistill.training.grpo:Grpo",
    "sdpo": "selfdistill.training.sdpo:Sdpo",
    "sdpo_sparing_decisions": "selfdistill.training.protected:SparingDecisions",
    "sdpo_sparing_like_decisions": "selfdistill.training.protected:SparingLikeDecisions",
    "sdpo_sparing_verification": "selfdistill.training.protected:SparingVerification",
    "sdpo_sparing_like_verification": "selfdistill.training.protected:SparingLikeVerification",
    "sdpo_decisions_only": "selfdistill.training.protected:DecisionsOnly",
    "sdpo_clipped": "selfdistill.training.protected:Clipped",
    "sdpo_summed": "selfdistill.training.rewarded:Summed",
    "sdpo_routed": "selfdistill.training.rewarded:Routed",
    "sdpo_ascended": "selfdistill.training.rewarded:Ascended",
}
SDPO, GRPO = "sdpo", "grpo"
# Methods made from SDPO, by their names' beginning: their runs have its context, teacher and top-k, and its settings.
SELF_TAUGHT = tuple(name for name in METHODS if name.startswith(SDPO))
# Methods that read the microcosm's language, and train nothing else.
OF_MICROCOSM = (
    "sdpo_sparing_decisions",
    "sdpo_sparing_like_decisions",
    "sdpo_sparing_verification",
    "sdpo_sparing_like_verification",
    "sdpo_decisions_only",
)
# Methods made from SDPO that have GRPO's objective as well.
REWARDED = ("sdpo_summed", "sdpo_routed", "sdpo_ascended")
# Method and context of each loss of which it is measured where its gradient points: the paper's.
ALIGNED = ((GRPO, ""), (SDPO, "solution"), (SDPO, "solution_without_thinking"))


def section_of(name: str) -> str:
    """The section of `OnPolicySettings` that a method is made from; its name where it has none."""
    return SDPO if name in SELF_TAUGHT else name


def sections_of(name: str) -> set[str]:
    """All sections of `OnPolicySettings` that a method reads."""
    return {section_of(name)} | ({GRPO} if name in REWARDED else set())


def load(name: str) -> Any:
    """The class of a method, a `Method`; imports its module. Raises `UserError` for an unknown name."""
    return entries.load("method", name, METHODS)
