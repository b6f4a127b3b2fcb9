"""Which on-policy runs a figure shows: those of its view in the configuration."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from selfdistill.errors import UserError

View = Mapping[str, Any]  # a view of the configuration, with its benchmarks
# What each figure draws of its view, as conditions of `in_view`; a figure that is not listed: the view itself. A
# figure that is asked for alone needs only the runs that meet one of them.
_WHOLE = {"method": "sdpo", "context": "solution"}
DRAWN: dict[str, tuple[dict[str, Any], ...]] = {
    "fig_1": ({"context": "solution"},),
    "fig_6": (_WHOLE | {"teacher_update_rate": None},),
    "fig_7": ({"method": "grpo", "whole_set": None}, _WHOLE | {"whole_set": None}),
    "fig_8": ({"method": "grpo", "whole_set": None}, _WHOLE | {"whole_set": None}),
    "fig_e": (
        {"method": "grpo", "learning_rate": None},
        _WHOLE | {"learning_rate": None},
        _WHOLE | {"top_k": None},
    ),
}


def drawn(figure: str, narrow: object) -> Iterator[Mapping[str, Any]]:
    """What ``figure`` draws of its view, as conditions of `in_view`; Figure 1a: the runs that ``narrow`` says."""
    if figure == "fig_1":
        yield vars(narrow)
    yield from DRAWN.get(figure, ({},))


def in_view(curves: pd.DataFrame, view: View, **conditions: object) -> pd.DataFrame:
    """Rows of ``curves`` that a view shows and that meet ``conditions`` (column: value, or None for any).

    Unless a condition says otherwise: runs on the whole set with a fixed teacher, at the view's rate of their method
    and its top-k. `UserError` when nothing is left.
    """
    wanted = {"problem_set": view["problem_set"], "whole_set": True, "teacher_update_rate": 0.0} | conditions
    met = [curves["family"].isin(view["families"]), curves["thinking"] == view["thinking"]]
    if "learning_rate" not in conditions:
        rates = curves["method"].map(view["rates"])
        met.append(np.isclose(curves["learning_rate"].astype(float), rates.astype(float), rtol=1e-9))
    if "top_k" not in conditions:
        wanted["top_k"] = view["top_k"]
    for column, value in wanted.items():
        if value is not None:  # GRPO has no teacher, context or top-k
            found = curves[column].to_numpy(object, na_value=None)
            met.append((found == value) | (found == None) | (found == "none"))  # noqa: E711 (of each)
    kept = np.logical_and.reduce(met)
    if not kept.any():
        shown = ", ".join(f"{name} {value}" for name, value in {**dict(view), **conditions}.items())
        raise UserError(f"no on-policy run is what this figure shows ({shown}); see onpolicy.runs and figures.views")
    return curves[kept]
