"""A real pretrained model, SmolLM2-135M-Instruct, through a whole study on a CPU: `make test-pretrained`."""

from own_study import ROOT, check_whole, whole_study

MODEL = ROOT / ".pretrained" / "smollm2-135m-instruct"  # envs/install_pretrained.py
PROBLEMS = {"What is 1 + 1?": "2", "What is 2 + 1?": "3", "What is 2 + 2?": "4", "What is 3 + 2?": "5"}
BENCHMARK = {"What is 3 + 3?": "6", "What is 4 + 1?": "5"}
INSTRUCTION = r"Write only the answer in the form \boxed{answer}. Example: What is 10 + 2? \boxed{12}"


def test_a_pretrained_model_goes_through_the_whole_study(tmp_path):
    assert MODEL.is_dir(), "run `make test-pretrained`, which fetches the model"
    results = whole_study(tmp_path / "project", MODEL, PROBLEMS, BENCHMARK, instruction=INSTRUCTION, tokens=32)
    check_whole(results)
