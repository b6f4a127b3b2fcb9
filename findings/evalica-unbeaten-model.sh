#!/usr/bin/env bash
# evalica's Bradley-Terry scores are all equal where one model wins all its comparisons, or loses them all.
#
# Guess:   an unbeaten model gets by far the highest score, or one without bound and a warning; the scores of the others
#          keep their order and their ratio.
# Seen:    every model gets 1e-6, so that all are equal and pairwise_scores is 0.5 for each pair. One model without
#          a win has the same effect. With one comparison lost, the best model's score is 7.3. The bootstrap draws such
#          sets itself: that model's interval of 95 % then begins at 1e-6. Nothing is said; counting and elo rank as
#          one would.
# With:    evalica 0.4.2, with both of its solvers; numpy 2.4.6
# Matters: a strong model among weak ones, or a base model that loses to all trained ones, makes judgements say
#          that all models are equally good.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check evalica==0.4.2 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1

venv/bin/python - <<'PYTHON'
from importlib.metadata import version

from evalica import Winner, bootstrap, bradley_terry, counting, elo, pairwise_scores

print("evalica", version("evalica"))

def comparisons(**wins):
    """`ab=7`: a wins over b seven times."""
    pairs = [pair for pair, count in wins.items() for _ in range(count)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs], [Winner.X] * len(pairs)

def scores(name, played):
    found = bradley_terry(*played).scores
    other = bradley_terry(*played, solver="naive").scores
    print(f"{name:32} {({model: round(score, 6) for model, score in found.items()})}")
    assert all(abs(found[model] - other[model]) < 1e-6 for model in "abc")
    assert list(elo(*played).scores.index) == list(counting(*played).scores.index) == ["a", "b", "c"]
    return found

beaten_once = comparisons(ab=10, ac=9, ca=1, bc=7, cb=3)
found = scores("a loses one comparison", beaten_once)
assert 7.2 < found["a"] < 7.4 and found["b"] > found["c"]

for name, played in {
    "a loses none": comparisons(ab=10, ac=10, bc=7, cb=3),
    "c wins none": comparisons(ab=7, ba=3, ac=10, bc=10),
}.items():
    found = scores(name, played)
    assert set(found) == {1e-6}
    assert (pairwise_scores(found.to_numpy()) == 0.5).all()

intervals = bootstrap(bradley_terry, *beaten_once, n_resamples=200, bootstrap_method="percentile", random_state=0)
print("bootstrap, a loses one comparison: from", intervals.low["a"], "to", intervals.high["a"])
assert intervals.low["a"] == 1e-6 < 7 < intervals.high["a"]
PYTHON
