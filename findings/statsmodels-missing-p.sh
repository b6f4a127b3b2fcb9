#!/usr/bin/env bash
# With one p-value missing, statsmodels' Benjamini-Hochberg rejects hypotheses and gives no corrected p-value at all.
#
# Guess:   a missing p-value is refused, or stays missing while the others are corrected, as Holm's method has it there.
# Seen:    with method "fdr_bh", every corrected p-value is missing, and yet some hypotheses are marked as rejected.
#          Which, is decided with the missing one counted among the tests: the .04 below is rejected without it, and not
#          with it. "holm" and "bonferroni" keep the others; they count it too.
# With:    statsmodels 0.15.0
# Matters: a contrast without variance has no p-value. Filtering by the corrected ones reports nothing, by the other
#          return value something: the two halves of one answer disagree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check statsmodels==0.15.0

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
import numpy as np
from statsmodels.stats.multitest import multipletests

print("statsmodels", version("statsmodels"))

def corrected(p, method):
    rejected, adjusted = multipletests(p, method=method)[:2]
    print(f"{method:10} {p} rejected {rejected.tolist()} corrected {np.round(adjusted, 4).tolist()}")
    return rejected.tolist(), adjusted

rejected, adjusted = corrected([0.0001, 0.001, float("nan"), 0.04], "fdr_bh")
assert rejected == [True, True, False, False]
assert np.isnan(adjusted).all()
rejected, adjusted = corrected([0.0001, 0.001, 0.04], "fdr_bh")
assert rejected == [True, True, True] and np.allclose(adjusted, [0.0003, 0.0015, 0.04])
rejected, adjusted = corrected([0.0001, 0.001, float("nan"), 0.04], "holm")
assert np.isnan(adjusted).tolist() == [False, False, True, False]
PYTHON
