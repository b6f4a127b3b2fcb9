"""Command line: ``selfdistill STAGE --flag value ...``, one subcommand per function of `stages`.

Flags are read off a stage's signature (a settings dataclass becomes one flag per field), so that the two
cannot drift apart. Parameters called ``out`` or ``out_*`` are outputs and get a provenance sidecar.
"""

import argparse
import atexit
import dataclasses
import gc
import inspect
import logging
import shlex
import sys
import time
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

from selfdistill import processes, stages
from selfdistill.errors import UserError
from selfdistill.records import provenance

WORDS_FOR_BOOL = {"true": True, "false": False}


def main(argv: list[str] | None = None) -> int:
    """Run one stage. Exit status: 0 done, 1 a comparison that failed, 2 bad input (told in one sentence)."""
    arguments = sys.argv[1:] if argv is None else argv
    level = logging.INFO if processes.is_main() else logging.ERROR
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")
    flags = vars(_parser().parse_args(arguments))
    stage: Callable[..., int | None] = flags.pop("stage")
    started = time.monotonic()
    try:
        status = stage(**_arguments(stage, flags))
    except UserError as error:
        print(f"selfdistill: {error}", file=sys.stderr)
        return 2
    if processes.is_main():
        _write_sidecars(["selfdistill", *arguments], flags, time.monotonic() - started)
    return status or 0


def spare_collector() -> None:
    """Keep Python's garbage collector from what outlives a process's work: for one that ends with a stage.

    Importing transformers and TRL makes a million objects. To walk through all of them again and again as they become
    more took a quarter of the import's time, and once more at the end of the process a second. Young objects are
    collected as ever.
    """
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, 1_000_000)
    atexit.register(gc.freeze)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="selfdistill", description=inspect.getdoc(stages))
    commands = parser.add_subparsers(required=True, metavar="STAGE")
    for stage in stages.STAGES:
        summary = (inspect.getdoc(stage) or "").partition("\n")[0]
        command = commands.add_parser(stage.__name__.replace("_", "-"), help=summary, description=inspect.getdoc(stage))
        command.set_defaults(stage=stage)
        for name, kind, default in _parameters(stage):
            _add_flag(command, name, kind, default, positional=name in _positional(stage))
    return parser


def _parameters(target: Callable[..., object]) -> Iterator[tuple[str, object, object]]:
    """(flag name, type, default) of a stage; the fields of a settings dataclass stand in its place."""
    hints = typing.get_type_hints(target)
    for name, parameter in inspect.signature(target).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            yield from _parameters(hints[name])
        else:
            yield name, hints[name], parameter.default


def _positional(stage: Callable[..., object]) -> set[str]:
    """Parameters that are given without a flag: those before the ``*`` of a signature."""
    free = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {name for name, parameter in inspect.signature(stage).parameters.items() if parameter.kind is free}


def _arguments(target: Callable[..., object], flags: dict[str, object]) -> dict[str, object]:
    """The flags put back into the stage's parameters."""
    hints = typing.get_type_hints(target)
    kinds = {name: hints[name] for name in inspect.signature(target).parameters}
    return {
        name: kind(**_arguments(kind, flags)) if dataclasses.is_dataclass(kind) else flags[name]
        for name, kind in kinds.items()
    }


def _add_flag(command: argparse.ArgumentParser, name: str, kind: object, default: object, *, positional: bool) -> None:
    if positional:
        command.add_argument(name, type=_converter(kind))
        return
    required = default is inspect.Parameter.empty
    settings = {"dest": name, "required": required, "default": None if required else default}
    if typing.get_origin(kind) is list:
        settings |= {"nargs": "*" if not required else "+", "type": typing.get_args(kind)[0]}
    else:
        settings["type"] = _converter(kind)
    command.add_argument(f"--{name.replace('_', '-')}", **settings)


def _converter(kind: object) -> Callable[[str], object]:
    if isinstance(kind, types.UnionType):  # "X | None": the flag, when given, holds an X
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return _to_bool if kind is bool else typing.cast(Callable[[str], object], kind)


def _to_bool(word: str) -> bool:
    if word.lower() not in WORDS_FOR_BOOL:
        raise argparse.ArgumentTypeError(f"'{word}' is neither true nor false")
    return WORDS_FOR_BOOL[word.lower()]


def _write_sidecars(command: list[str], flags: dict[str, object], seconds: float) -> None:
    outputs = {name: value for name, value in flags.items() if name == "out" or name.startswith("out_")}
    inputs = {}
    for name, value in flags.items():
        for index, path in enumerate(value if isinstance(value, list) else [value]):
            if name not in outputs and isinstance(path, Path) and path.is_file():
                inputs[f"{name}[{index}]" if isinstance(value, list) else name] = path
    rest = {name: value for name, value in flags.items() if name not in outputs and name not in inputs}
    for path in outputs.values():
        if isinstance(path, Path) and path.is_file():
            provenance.write_sidecar(path, command=command, inputs=inputs, parameters=rest, seconds=seconds)
    logging.info("%s: %.1f s", shlex.join(command[:2]), seconds)


if __name__ == "__main__":
    sys.exit(main())
