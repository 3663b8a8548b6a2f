"""What the tests of local models share: models that say what they are told to, and plain mlx-lm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helix_nb.endpoints.local import tiny_model

Reference = Callable[..., dict[str, Any]]
FINAL = "<|final|>"
TOOLS_TEMPLATE = (
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{% set tool_call = c.function %}<tool_call>{{ tool_call.name }}"
    "{{ tool_call.arguments | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{%- for t in tools or [] %}{{ t.function.name }}{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if messages[-1].role == 'tool' %}<|final|>{% endif %}{{ opening or '' }}{% endif %}"
)


def scripted(path: Path, *scripts: Sequence[str], thinking: bool = False) -> Path:
    """Build a model that says each script's pieces, one token after the other.

    The first script follows a newline (the end of the usual prompt), the second the token that
    ends the prompt after a tool's result. The layers add nothing, so the next token depends on the
    last one alone: no piece may occur twice.
    """
    import numpy as np

    pieces = [piece for script in scripts for piece in script]
    marks = ["<think>", "</think>"] if thinking else []
    tokenizer = tiny_model.train_tokenizer(tiny_model.TEXT, [*dict.fromkeys([*marks, *pieces, FINAL])])
    shape = tiny_model.Shape(layers=1, hidden=512, heads=4)
    weights = dict(tiny_model.random_weights(shape, tokenizer, 0))
    for name in weights:
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weights[name] = np.zeros_like(weights[name])
    words = (
        np.random.default_rng(1)
        .normal(0, 1, (tiny_model.vocabulary_size(tokenizer), shape.hidden))
        .astype(np.float32)
    )
    following = np.zeros_like(words)
    for start, script in zip(("\n", FINAL), scripts, strict=False):
        ids = [tokenizer.encode(start).ids[-1], *(tokenizer.token_to_id(piece) for piece in script)]
        for last, token in zip(ids, [*ids[1:], tokenizer.token_to_id("<|im_end|>")], strict=True):
            following[token] += words[last]
    weights["model.embed_tokens.weight"], weights["lm_head.weight"] = words, following
    path.mkdir(parents=True)
    tiny_model.save_model(
        path,
        tokenizer,
        tiny_model.model_config(shape, tokenizer, tied=False),
        weights,
        template=TOOLS_TEMPLATE,
    )
    return path


@contextmanager
def plain_mlx_lm() -> Iterator[Reference]:
    """Plain mlx-lm in a process of its own: a function that sends an order and returns the answer."""
    command = [sys.executable, str(Path(__file__).with_name("local_reference.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(**order: Any) -> dict[str, Any]:
            assert process.stdin is not None and process.stdout is not None
            print(json.dumps(order), file=process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield ask
        assert process.stdin is not None
        process.stdin.close()
