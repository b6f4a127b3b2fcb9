"""Parameters of stages, and of what they bundle, that several share: types with their help texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

Problems = Annotated[Path, "Table of problems."]
ProblemTables = Annotated[list[Path], "Tables of problems."]
OwnProblems = dict[str, int | None]  # the keywords of `prompt_stream.trained_problems`
Manifest = Annotated[Path, "Manifest of the model."]
Traces = Annotated[Sequence[Path], "Tables of responses."]
RunRows = Annotated[dict[str, list[Any]], "On-policy runs by column, as JSON."]
RunTable = Annotated[Path, "Table of the on-policy runs."]
SftRunTable = Annotated[Path, "Table of the fine-tuning runs."]
Contexts = Annotated[Sequence[Path], "Responses that serve as context c; none for unguided generation."]
Setting = Annotated[str, "Setting of guidance: unguided, solution, solution_without_thinking, regeneration, ..."]
Samples = Annotated[int, "Responses per problem."]
StudyName = Annotated[str, "Name of the study, written into every row."]
ModelName = Annotated[str, "Name of the model, written into every row."]
Instruction = Annotated[str, "Line added below each problem."]
EnableThinking = Annotated[bool | None, "The chat template's switch for thinking; without it, the template's default."]
System = Annotated[str, "System turn before each user turn; none where it is empty."]
AnswerIn = Annotated[str, "Where a response has its answer: box (\\boxed{}) or tag (<answer>)."]
Seed = Annotated[int, "Seed of everything random."]
WorkDir = Annotated[Path, "Folder of what is unfinished: the same command continues from there."]
Workers = Annotated[int, "Processes side by side; the result does not depend on their number."]
Out = Annotated[Path, "Where the result goes."]
OutFolder = Annotated[Path, "Folder that the results go to."]
Models = Annotated[dict[str, dict[str, str]], "Family, thinking and base model of every model, as JSON."]
ResultsFolder = Annotated[Path, "A results folder, such as results/microcosm."]
ConfigFiles = Annotated[Sequence[Path], "Configuration files that are laid over config.yaml."]
Profiles = Annotated[Sequence[Path], "Snakemake profiles."]
Targets = Annotated[
    Sequence[str], "Only what these need: files, rules, sections (section_3), names such as 'Figure 3', claims."
]
Cores = Annotated[int | None, "Cores to plan for; without it, those of this machine."]
ResponseTable = Annotated[Path, "Table of responses."]
Examples = Annotated[Path, "Table of examples to train on."]
Engine = Annotated[str, "What samples: transformers (CPU) or vllm (GPU)."]
Confidence = Annotated[float, "Level of every interval."]
Window = Annotated[int, "Steps that one point of a training curve averages."]
Summary = Annotated[Path, "Table of numbers that are shown."]
