#!/usr/bin/env bash
# litellm's cache answers with thinking where it was asked without, and for one server with the response of another.
#
# Guess:   two requests that differ in a sampling parameter, whether OpenAI's (seed, temperature) or another server's
#          (top_k, min_p, repetition_penalty), have two keys in the cache: the second one is not answered with the first
#          one's response.
# Seen:    only names of a list count. The response to a plain request also comes for min_p=0.1, for
#          repetition_penalty=1.2, for chat_template_kwargs={"enable_thinking": False}, for all in extra_body
#          (top_k too, which counts outside of it), and for another api_base: nothing is sent to the server. seed, top_k
#          and max_tokens count. With litellm.enable_caching_on_provider_specific_optional_params all but api_base do.
# With:    litellm 1.110.2
# Matters: two checkpoints served side by side under one name, or one model with and without thinking, get the same
#          responses, and the comparison says that there is no difference.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
# The last three are not among litellm's own requirements, but what answers from the cache imports them.
venv/bin/pip install -qq --disable-pip-version-check litellm==1.110.2 \
    fastapi==0.165.0 orjson==3.13.0 soundfile==0.14.0

LITELLM_LOCAL_MODEL_COST_MAP=True NO_PROXY=127.0.0.1 venv/bin/python - <<'PYTHON'
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from threading import Thread

import litellm
from litellm.caching.caching import Cache

print("litellm", version("litellm"))


class Server(BaseHTTPRequestHandler):
    """Answers a request with the number of its server and with its parameters."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = {key: value for key, value in request.items() if key not in ("model", "messages")}
        message = {"role": "assistant", "content": f"server {bases.index(base(self.server))}: {json.dumps(shown)}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "qwen", "choices": [choice]}
        body = json.dumps(answer | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def base(server):
    return f"http://127.0.0.1:{server.server_port}/v1"


servers = [ThreadingHTTPServer(("127.0.0.1", 0), Server) for _ in range(2)]
bases = [base(server) for server in servers]
for server in servers:
    Thread(target=server.serve_forever, daemon=True).start()


def ask(server=0, **more):
    question = [{"role": "user", "content": "2+2?"}]
    asked = {"model": "hosted_vllm/qwen", "messages": question, "api_base": bases[server], "api_key": "x"} | more
    return litellm.completion(**asked).choices[0].message.content


requests = {
    "another server": {"server": 1},
    "min_p=0.1": {"min_p": 0.1},
    "repetition_penalty=1.2": {"repetition_penalty": 1.2},
    "enable_thinking=False": {"chat_template_kwargs": {"enable_thinking": False}},
    "the same in extra_body": {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    "top_k=5 in extra_body": {"extra_body": {"top_k": 5}},
    "top_k=5": {"top_k": 5},
    "max_tokens=5": {"max_tokens": 5},
    "seed=2": {"seed": 2},
}


def from_cache():
    litellm.cache = None
    right = {name: ask(**more) for name, more in requests.items()}
    litellm.cache = Cache(type="local")
    first = ask()
    answers = {name: ask(**more) for name, more in requests.items()}
    for name, answer in answers.items():
        print(f"{name:24} {answer}, without the cache {right[name]}")
    return {name for name, answer in answers.items() if answer == first}


taken = from_cache()
assert taken == set(requests) - {"top_k=5", "max_tokens=5", "seed=2"}
assert len(litellm.cache.cache.cache_dict) == 4
print("--- with enable_caching_on_provider_specific_optional_params")
litellm.enable_caching_on_provider_specific_optional_params = True
assert from_cache() == {"another server"}
PYTHON
