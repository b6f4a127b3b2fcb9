#!/usr/bin/env bash
# draccus reads an option that is declared as text as YAML, and makes a text of what comes out.
#
# Guess:   an option `prompt: str` is the text on the command line, as with argparse, tyro and jsonargparse.
# Seen:    `--prompt "Answer: yes"` is the text {'Answer': True}, `"[INST]"` is ['INST'], and what follows " #" is cut
#          off. The commit 0123456 is 42798, version 3.10 is 3.1, and 1:30 is 90. `"# Task"` and `null` are None, in a
#          field that cannot be None. Quotes inside the quotes help: `"'Answer: yes'"`.
# With:    draccus 0.11.6; the same options with tyro 1.0.17 and jsonargparse 4.53.0 stay as they are
# Matters: the run goes on with a prompt, a revision or a name that nobody gave, and its recorded command line looks
#          right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check draccus==0.11.6 tyro==1.0.17 jsonargparse==4.53.0 pyyaml==6.0.4

venv/bin/python - <<'PYTHON' | tee seen.txt
from dataclasses import dataclass
from importlib.metadata import version

import draccus
import jsonargparse
import tyro

@dataclass
class Options:
    prompt: str = "default"

def with_jsonargparse(argument):
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--prompt", type=str)
    return parser.parse_args([argument]).prompt

print("draccus", version("draccus"))
for text in ["Answer: yes", "Answer:", "[INST]", "Reply in C # or D", "# Task", "null", "no", "0123456", "3.10", "1:30",
             "'Answer: yes'", "Answer with yes", "1e5"]:
    assert tyro.cli(Options, args=["--prompt", text]).prompt == text
    assert with_jsonargparse(f"--prompt={text}") == text
    print(f"{text:18} {draccus.parse(Options, args=['--prompt', text]).prompt!r}")
PYTHON
diff seen.txt - <<'SEEN'
draccus 0.11.6
Answer: yes        "{'Answer': True}"
Answer:            "{'Answer': None}"
[INST]             "['INST']"
Reply in C # or D  'Reply in C'
# Task             None
null               None
no                 'False'
0123456            '42798'
3.10               '3.1'
1:30               '90'
'Answer: yes'      'Answer: yes'
Answer with yes    'Answer with yes'
1e5                '1e5'
SEEN
