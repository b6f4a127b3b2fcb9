#!/usr/bin/env bash
# In statsmodels' formulas, a logistic model of a column of True and False explains False: every sign is turned.
#
# Guess:   "solved ~ thinks" gives the same model whether `solved` is True and False or 1 and 0, or an error.
# Seen:    glm and gee with the binomial family take the outcome as two columns, `solved[False]` and `solved[True]`,
#          and the first one for the successes. The coefficient is -1.39 in place of 1.39, the p-value is the same, and
#          `predict` gives the chance of False. "no" and "yes" do the same, "right" and "wrong" do not: it goes by the
#          alphabet. logit refuses both, and without a formula True is 1.
# With:    statsmodels 0.15.0, formulaic 1.2.2, pandas 3.1.1
# Matters: graded answers are True and False. That thinking helps comes out as that it harms, with a small p-value; only
#          "Dep. Variable" in the summary tells. `solved.astype(int)` helps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check statsmodels==0.15.0 formulaic==1.2.2 pandas==3.1.1 numpy==2.4.6 \
    scipy==1.17.1

venv/bin/python - <<'PYTHON'
import formulaic
import numpy as np
import pandas as pd
import statsmodels
import statsmodels.api as sm
import statsmodels.formula.api as smf

print("statsmodels", statsmodels.__version__, "formulaic", formulaic.__version__, "pandas", pd.__version__)

# 200 problems, solved by 50 % without thinking and by 80 % with it.
answers = pd.DataFrame({"problem": list(range(200)) * 2, "thinks": [0] * 200 + [1] * 200})
answers["solved"] = (answers["problem"] % 10) < np.where(answers["thinks"], 8, 5)
answers["number"] = answers["solved"].astype(int)
answers["said"] = np.where(answers["solved"], "yes", "no")
answers["grade"] = np.where(answers["solved"], "right", "wrong")
settings = pd.DataFrame({"thinks": [0, 1]})
binomial = sm.families.Binomial()

def expect(outcome, sign, shares):
    fit = smf.glm(f"{outcome} ~ thinks", answers, family=binomial).fit()
    clustered = smf.gee(f"{outcome} ~ thinks", "problem", answers, family=binomial).fit()
    predicted = fit.predict(settings).round(3).tolist()
    print(f"{outcome:7} glm {fit.params['thinks']:6.3f} (p {fit.pvalues['thinks']:.0e}), gee "
          f"{clustered.params['thinks']:6.3f}; predicted {predicted}; outcome {fit.model.endog_names}")
    assert abs(fit.params["thinks"] - sign * np.log(4)) < 1e-6 and fit.pvalues["thinks"] < 1e-6
    assert abs(clustered.params["thinks"] - sign * np.log(4)) < 1e-6 and predicted == shares

print(answers.groupby("thinks")["solved"].mean().to_dict())
expect("number", 1, [0.5, 0.8])
expect("solved", -1, [0.5, 0.2])
expect("said", -1, [0.5, 0.2])
expect("grade", 1, [0.5, 0.8])

plain = sm.GLM(answers["solved"], sm.add_constant(answers["thinks"]), family=binomial).fit()
assert abs(plain.params["thinks"] - np.log(4)) < 1e-6
for outcome in ("solved", "said"):
    try:
        smf.logit(f"{outcome} ~ thinks", answers).fit(disp=0)
    except ValueError as error:
        print(f"logit of {outcome}: {str(error)[:70]}...")
    else:
        raise AssertionError(outcome)
PYTHON
