"""**SFT loss (Section 4): training on one's own responses.** Mean cross-entropy of the response tokens (prompts are
masked) at every optimizer step; a row for each data set, a column for each learning rate. The loss of one data set is
not comparable in level with that of another: short, confident responses are easier to predict.

There are no intervals: each line is one run with one seed, of one base model, and nothing is smoothed. Of more than
three base models the lines are thin, and their mean is bold.

*What the authors did differently.* The paper shows no training curves and publishes no training recipe for this
section; the curves are here so that a rate that did nothing, or diverged, can be told from one that trained.
"""

import pandas as pd
from selfdistill.analysis.words import rate_label
from selfdistill.figures import plotting
from selfdistill.figures.plotting import Drawn, Look, looks_of

TOLD_APART = 3  # base models whose lines an eye can follow
MEAN = Look("mean of the base models (thin lines)")
ONE_OF_MANY = {"linewidth": 0.5, "alpha": 0.35}


def draw(steps: pd.DataFrame, runs: plotting.Runs, study: str) -> Drawn:
    """One panel per data set and learning rate of ``steps``, training_steps rows; one line per model."""
    plotting.use_style()
    shown = steps[steps["metric"] == "loss"]
    trained = shown["run"].map(lambda run: plotting.what_trained(run, runs))
    loss = shown.assign(dataset=trained.str[0], rate=trained.str[1])
    rates, datasets = sorted(loss["rate"].unique()), plotting.in_order(loss["dataset"], plotting.DATASETS)
    models = loss["model"].unique()
    looks = looks_of(models) if len(models) <= TOLD_APART else {}
    figure = plotting.new_figure(height=0.6 + 1.3 * len(datasets))
    axes = figure.subplots(len(datasets), len(rates), sharex=True, sharey="row", squeeze=False)
    for dataset, row in zip(datasets, axes, strict=True):
        for rate, panel in zip(rates, row, strict=True):
            here = loss[(loss["dataset"] == dataset) & (loss["rate"] == rate)]
            for model, line in here.groupby("model", sort=False):
                style = plotting.line_style(looks[model]) | {"linewidth": 0.9} if looks else ONE_OF_MANY
                panel.plot(line["step"], line["value"], color=looks[model].colour if looks else MEAN.colour, **style)
            if not looks:
                mean = here.groupby("step")["value"].mean()
                panel.plot(mean.index, mean, color=MEAN.colour, linewidth=1.4)
            panel.set_title(f"{plotting.DATASETS[dataset].label}, rate {rate_label(rate)}")
        row[0].set_ylabel("loss per token")
    for panel in axes[-1]:
        panel.set_xlabel("optimizer step")
    plotting.letter_panels(axes.flat)
    if not looks:
        plotting.draw_legend(figure, [plotting.line_entry(MEAN, marked=False)])
    elif len(looks) > 1:
        plotting.draw_legend(figure, [plotting.line_entry(look, marked=False) for look in looks.values()])
    plotting.stamp(figure, study)
    return Drawn(figure, shown)
