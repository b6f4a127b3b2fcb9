"""A real pretrained model, SmolLM2-135M-Instruct, through a whole study on a CPU: `make test-pretrained`.

It does no sums in a box. It often repeats one when it is told to, at the paper's temperature, and often does not.
"""

from own_study import ROOT, check_whole, whole_study

MODEL = ROOT / ".pretrained" / "smollm2-135m-instruct"  # envs/install_pretrained.py
PROBLEMS, BENCHMARK = ({rf"Echo: \boxed{{{n}}}": str(n) for n in numbers} for numbers in ((7, 12, 40, 9), (5, 31)))
ASKED = {"instruction": "Output only the text after Echo.", "tokens": 24, "temperature": 0.6}


def test_a_pretrained_model_goes_through_the_whole_study(tmp_path):
    assert MODEL.is_dir(), "run `make test-pretrained`, which fetches the model"
    check_whole(whole_study(tmp_path / "project", MODEL, PROBLEMS, BENCHMARK, **ASKED))
