"""The process in which `grading` runs math-verify: one JSON pair [answer, gold] per line in, true or false out.

Answers come from models: memory is limited here, time by the caller, who kills this process.
"""

import json
import logging
import resource
import sys

MEMORY_BYTES = 4 * 1024**3


def verdict(answer: str, gold: str) -> bool:
    """Whether math-verify takes the two for equal; False for what it cannot parse."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    configs = (LatexExtractionConfig(), ExprExtractionConfig())
    try:
        left, right = (
            parse(f"${text}$", extraction_config=configs, parsing_timeout=None, raise_on_error=False)
            for text in (answer, gold)
        )
        return bool(left and right and verify(right, left, timeout_seconds=None, raise_on_error=False))
    except Exception:  # whatever a hostile expression provokes in a symbolic library is a wrong answer
        return False


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    verdict("1", "1")  # imports
    print("ready", flush=True)
    for line in sys.stdin:
        answer, gold = json.loads(line)
        print(json.dumps(verdict(answer, gold)), flush=True)


if __name__ == "__main__":
    main()
