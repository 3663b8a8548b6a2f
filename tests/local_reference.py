"""Plain mlx-lm in a process of its own, to compare with: JSON lines in, JSON lines out.

{"model", "messages", "max_tokens", "temperature", "seed"} -> what `mlx_lm.stream_generate` makes of it.
{"build", "config"} -> a random model of that architecture, saved beside a tokenizer already there.
{"load": [folders]} -> the sentence each of them is refused with.
"""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache(maxsize=8)
def loaded(path: str) -> Any:
    from mlx_lm import load

    return load(path)


def generate(order: dict[str, Any]) -> dict[str, Any]:
    import mlx.core as mx
    from mlx_lm import stream_generate
    from mlx_lm.sample_utils import make_sampler

    model, tokenizer = loaded(order["model"])
    prompt = tokenizer.apply_chat_template(order["messages"], add_generation_prompt=True)
    if "seed" in order:
        mx.random.seed(order["seed"])
    sampler = make_sampler(temp=order.get("temperature", 0.0))
    texts, last = [], None
    for last in stream_generate(model, tokenizer, prompt, max_tokens=order["max_tokens"], sampler=sampler):
        texts.append(last.text)
    return {
        "text": "".join(texts),
        "texts": texts,
        "prompt_tokens": len(prompt),
        "completion_tokens": last.generation_tokens,
        "finish_reason": last.finish_reason,
    }


def build(order: dict[str, Any]) -> dict[str, Any]:
    import mlx.core as mx
    from mlx.utils import tree_flatten, tree_map
    from mlx_lm.utils import _get_classes

    path, config = Path(order["build"]), order["config"]
    mx.random.seed(0)
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    spread = tree_map(lambda weight: weight * 2.0 if weight.ndim > 1 else weight, model.parameters())
    mx.save_safetensors(str(path / "model.safetensors"), dict(tree_flatten(spread)))
    (path / "config.json").write_text(json.dumps(config))
    return {"built": str(path)}


def refusals(order: dict[str, Any]) -> dict[str, Any]:
    from helix_nb.endpoints.local.worker.download import ServingError
    from helix_nb.endpoints.local.worker.load import load

    said: dict[str, str | None] = {}
    for folder in order["load"]:
        try:
            load(folder, None, None, lambda *_, **__: None)
            said[folder] = None
        except ServingError as refused:
            said[folder] = str(refused)
    return said


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        work = build if "build" in order else refusals if "load" in order else generate
        print(json.dumps(work(order)), file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
