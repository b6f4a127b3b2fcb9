"""The SFT loss at every step, one panel per learning rate, one line per data set."""

import sys

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from selfdistill import tables
from selfdistill.figures import plotting

DASHES = {"unguided": (), "guided": (4, 1.2), "unguided_unfiltered": (1.2, 1)}


def draw(steps: pd.DataFrame, study: str) -> Figure:
    """One panel per model and learning rate of ``steps``: training_steps rows."""
    plotting.use_style()
    loss = steps[steps["metric"] == "loss"]
    runs = loss["run"].map(plotting.split_run)
    loss = loss.assign(dataset=runs.str[0], rate=runs.str[1])
    models, rates = loss["model"].unique(), sorted(loss["rate"].unique())
    datasets = plotting.in_order(loss["dataset"], plotting.DATASETS)
    figure = plotting.new_figure(height=0.5 + 2.1 * len(models))
    axes = figure.subplots(len(models), len(rates), sharey=True, squeeze=False)
    for model, row in zip(models, axes, strict=True):
        for rate, panel in zip(rates, row, strict=True):
            _draw_lines(panel, loss[(loss["model"] == model) & (loss["rate"] == rate)], datasets)
            title = f"learning rate {plotting.rate_label(rate)}"
            panel.set(title=f"{model}, {title}" if len(models) > 1 else title, xlabel="optimizer step")
        row[0].set_ylabel("loss per response token")
    plotting.draw_legend(figure, [_entry(name) for name in datasets])
    plotting.stamp(figure, study, view="sft")
    return figure


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


if __name__ == "__main__":
    job = snakemake  # noqa: F821 (Snakemake puts it in scope)
    sys.stderr = open(job.log[0], "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    steps = pd.concat([tables.read(path, "training_steps") for path in job.input], ignore_index=True)
    made_from = plotting.record(study=job.params.study, rule=job.rule, code=job.params.code, inputs=job.input)
    plotting.save(draw(steps, job.params.study), job.output, made_from, steps[steps["metric"] == "loss"])
