"""**SFT loss (Section 4): training on one's own responses.** Mean cross-entropy of the response tokens (prompts are
masked) at every optimizer step, by data set and learning rate. The loss of one data set is not comparable in level with
that of another: short, confident responses are easier to predict.

There are no intervals: each line is one run with one seed.

*What the authors did differently.* The paper shows no training curves and publishes no training recipe for this
section; the curves are here so that a rate that did nothing, or diverged, can be told from one that trained.
"""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from selfdistill.analysis.words import rate_label
from selfdistill.figures import plotting
from selfdistill.figures.plotting import Drawn

DASHES = {"unguided": (), "guided": (4, 1.2), "unguided_unfiltered": (1.2, 1)}


def draw(steps: pd.DataFrame, runs: plotting.Runs, study: str) -> Drawn:
    """One panel per model and learning rate of ``steps``: training_steps rows."""
    plotting.use_style()
    shown = steps[steps["metric"] == "loss"]
    trained = shown["run"].map(lambda run: plotting.what_trained(run, runs))
    loss = shown.assign(dataset=trained.str[0], rate=trained.str[1])
    models, rates = loss["model"].unique(), sorted(loss["rate"].unique())
    datasets = plotting.in_order(loss["dataset"], plotting.DATASETS)
    figure = plotting.new_figure(height=0.5 + 2.1 * len(models))
    axes = figure.subplots(len(models), len(rates), sharey=True, squeeze=False)
    for model, row in zip(models, axes, strict=True):
        for rate, panel in zip(rates, row, strict=True):
            _draw_lines(panel, loss[(loss["model"] == model) & (loss["rate"] == rate)], datasets)
            title = f"learning rate {rate_label(rate)}"
            panel.set(title=f"{model}, {title}" if len(models) > 1 else title, xlabel="optimizer step")
        row[0].set_ylabel("loss per response token")
    plotting.draw_legend(figure, [_entry(name) for name in datasets])
    plotting.stamp(figure, study, view="sft")
    return Drawn(figure, shown)


def _draw_lines(axes: Axes, loss: pd.DataFrame, datasets: list[str]) -> None:
    sns.lineplot(
        loss,
        x="step",
        y="value",
        hue="dataset",
        hue_order=datasets,
        palette={name: plotting.DATASETS[name].colour for name in datasets},
        style="dataset",
        dashes=DASHES,
        estimator=None,
        legend=False,
        linewidth=1.3,
        ax=axes,
    )


def _entry(dataset: str) -> Line2D:
    look = plotting.DATASETS[dataset]
    return Line2D([], [], color=look.colour, dashes=DASHES[dataset] or (1, 0), label=look.label)
