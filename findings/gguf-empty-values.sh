#!/usr/bin/env bash
# A GGUF file written by the gguf package lacks the keys whose value is an empty text or list, and reads nested lists
# flat.
#
# Guess:   add_string(key, "") writes an empty text, which differs from no key, and a list comes back as it was
#          written.
# Seen:    add_string(key, "") and add_array(key, []) write nothing and say nothing. [[1, 2], [3]] is written as
#          nested lists and read as [1, 2, 3] by GGUFReader's contents().
# With:    gguf 0.19.0, numpy 2.4.6
# Matters: a setting that is switched off by being empty (a chat template, a prefix, a list of stop tokens) takes the
#          reader's own default instead. Whoever converts a model must look for missing keys, not for empty ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check gguf==0.19.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from gguf import GGUFReader, GGUFWriter

print("gguf", version("gguf"))
writer = GGUFWriter("model.gguf", "llama")
values = {"own.text": "a", "own.empty_text": "", "own.zero": 0}
lists = {"own.list": [1, 2], "own.empty_list": [], "own.nested": [[1, 2], [3]]}
writer.add_string("own.text", "a")
writer.add_string("own.empty_text", "")
writer.add_uint32("own.zero", 0)
for key, value in lists.items():
    writer.add_array(key, value)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

fields = {key: field.contents() for key, field in GGUFReader("model.gguf").fields.items() if key.startswith("own.")}
for key, value in (values | lists).items():
    print(f"{key:16} written {value!r:16} read {fields.get(key, '(no such key)')!r}")
assert fields == {"own.text": "a", "own.zero": 0, "own.list": [1, 2], "own.nested": [1, 2, 3]}
PYTHON
