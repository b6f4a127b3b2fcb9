#!/usr/bin/env bash
# In a JSON Lines column with numbers and texts, datasets reads the texts as JSON once more.
#
# Guess:   a column that holds both "007" and 7 is refused, or all becomes text; in either case the text stays "007".
# Seen:    the column gets the type Json, and a text that happens to be JSON becomes what it spells: "007" is 7,
#          "0.50" is 0.5, "true" is True, "null" is None, "[1, 2]" is a list, "\"q\"" loses its quotes. Only texts
#          that are no JSON stay. What was a text can no longer be told. Without the one number in the column all stay
#          texts.
# With:    datasets 5.2.0, pyarrow 26.0.1
# Matters: one unquoted answer among thousands changes the answers of other rows: "0.50" and "1e3" lose their form, a
#          text that says null is gone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export HF_HOME=$work/hf HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1

venv/bin/python - <<'PYTHON'
import json
from pathlib import Path
import datasets

def read(name, answers):
    path = Path(f"{name}.jsonl")
    path.write_text("".join(json.dumps({"answer": answer}) + "\n" for answer in answers))
    table = datasets.load_dataset("json", data_files=str(path), split="train")
    print(name, table.features["answer"])
    for before, after in zip(answers, table["answer"], strict=True):
        print(f"    {before!r:10} {after!r}")
    return list(table["answer"])

print("datasets", datasets.__version__)
texts = ["007", "0.50", "1e3", "true", "null", "[1, 2]", '"q"', "1/2", "east"]
assert read("texts", texts) == texts
assert read("texts_and_a_number", [*texts, 7]) == [7, 0.5, 1000.0, True, None, [1, 2], "q", "1/2", "east", 7]
PYTHON
