"""A language model small enough to build on the spot: Qwen3's architecture with random weights.

It answers gibberish, and says so in its model card. Everything around the gibberish is real: the
chat template, the tokenizer, the tensors. So the whole local path can be tried and tested
without a download: `python -m helix_nb tiny-model DIR`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import LocalModelError

CARD = """# A tiny model with random weights

Built by `python -m helix_nb tiny-model`. It has Qwen3's architecture, a tokenizer trained on a
few lines and RANDOM weights: its answers are gibberish, made to try and test the way to a model.
"""
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = (
    "The quick brown fox jumps over the lazy dog, and the notebook answers in prose.",
    "A DataFrame has rows and columns; a prompt goes in at a cell and text streams out.",
    "Größe, naïve café, Ελληνικά, Привет мир, 你好世界, こんにちは, 🙂🚀 and π ≈ 3.14159.",
    "def answer(question: str) -> str:\n    return model(question)  # tokens per second\n",
    "user assistant system 0 1 2 3 4 5 6 7 8 9 {} [] () <> \"quoted\" 'single' \\ / | & % $ #",
    "What is the capital of France? The capital of France is Paris. And of Italy? Rome.",
)


@dataclass(frozen=True)
class Shape:
    """The sizes of a model."""

    layers: int = 2
    hidden: int = 64
    heads: int = 4
    key_value_heads: int = 2
    context_length: int = 4096  # in tokens

    @property
    def head_dim(self) -> int:
        """The numbers in one head's part of a state."""
        return self.hidden // self.heads


def build(directory: str | Path, shape: Shape | None = None, *, seed: int = 0) -> Path:
    """Write a tiny model with random weights into `directory` and return its path.

    The same shape and seed give the same model, in float32. It takes a second or two and, in the
    default shape, half a megabyte.

    Raises:
        LocalModelError: the `local` extra is not installed, or the directory holds other files or
            cannot be made.

    >>> import tempfile
    >>> from helix_nb.endpoints.local import tiny_model
    >>> path = tiny_model.build(tempfile.mkdtemp())
    >>> sorted(file.name for file in path.iterdir())[:2]
    ['README.md', 'config.json']
    """
    shape = shape or Shape()
    path = _make_folder(directory)
    tokenizer = train_tokenizer(TEXT)
    save_model(path, tokenizer, model_config(shape, tokenizer), dict(random_weights(shape, tokenizer, seed)))
    return path


def train_tokenizer(texts: Sequence[str], tokens: Sequence[str] = ()) -> Any:
    """Train a byte-level BPE tokenizer on `texts`; `tokens` become one token each, as plain text.

    Raises:
        LocalModelError: the `local` extra is not installed.
    """
    try:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise LocalModelError(
            "Building the tiny model needs the local extra: pip install 'helix-nb[local]'."
        ) from None
    tokenizer = Tokenizer(models.BPE())
    split = Regex(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in tokens])
    return tokenizer


def vocabulary_size(tokenizer: Any) -> int:
    """Return the size of the vocabulary, added tokens included."""
    return int(tokenizer.get_vocab_size(with_added_tokens=True))


def model_config(shape: Shape, tokenizer: Any, *, tied: bool = True) -> dict[str, Any]:
    """Return the model's config.json."""
    return {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "intermediate_size": 2 * shape.hidden,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head_dim,
        "rms_norm_eps": 1e-6,
        "vocab_size": vocabulary_size(tokenizer),
        "max_position_embeddings": shape.context_length,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }


def tensor_shapes(shape: Shape, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of every tensor but the norms', which are ones."""
    yield "model.embed_tokens.weight", (vocabulary, shape.hidden)
    queries, values = shape.heads * shape.head_dim, shape.key_value_heads * shape.head_dim
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.self_attn.q_proj.weight", (queries, shape.hidden)
        yield f"{prefix}.self_attn.k_proj.weight", (values, shape.hidden)
        yield f"{prefix}.self_attn.v_proj.weight", (values, shape.hidden)
        yield f"{prefix}.self_attn.o_proj.weight", (shape.hidden, queries)
        yield f"{prefix}.mlp.gate_proj.weight", (2 * shape.hidden, shape.hidden)
        yield f"{prefix}.mlp.up_proj.weight", (2 * shape.hidden, shape.hidden)
        yield f"{prefix}.mlp.down_proj.weight", (shape.hidden, 2 * shape.hidden)


def norm_sizes(shape: Shape) -> Iterator[tuple[str, int]]:
    """Yield name and length of every norm's weight."""
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.self_attn.q_norm.weight", shape.head_dim
        yield f"{prefix}.self_attn.k_norm.weight", shape.head_dim
        yield f"{prefix}.input_layernorm.weight", shape.hidden
        yield f"{prefix}.post_attention_layernorm.weight", shape.hidden
    yield "model.norm.weight", shape.hidden


def random_weights(shape: Shape, tokenizer: Any, seed: int) -> Iterator[tuple[str, Any]]:
    """Yield name and float32 array of every tensor of the model."""
    import numpy as np

    random = np.random.default_rng(seed)
    for name, size in tensor_shapes(shape, vocabulary_size(tokenizer)):
        # Wide enough that the layers outweigh the embedding: with tied weights the model would
        # otherwise say its last token again and again.
        values = random.normal(0.0, 2.0 / size[-1] ** 0.5, size)
        if name == "model.embed_tokens.weight":
            values[[not _readable(tokenizer, token) for token in range(size[0])]] *= 0.3
        yield name, values.astype(np.float32)
    for name, length in norm_sizes(shape):
        yield name, np.ones(length, np.float32)


def _readable(tokenizer: Any, token: int) -> bool:
    """Return whether a token is text of its own, not part of a character or a control character."""
    text = tokenizer.decode([token], skip_special_tokens=True)
    return bool(text) and "\ufffd" not in text and all(c.isprintable() or c == "\n" for c in text)


def save_model(
    path: Path, tokenizer: Any, config: dict[str, Any], weights: dict[str, Any], *, template: str = TEMPLATE
) -> None:
    """Save a model the way the Hub keeps one."""
    from safetensors.numpy import save_file

    tokenizer.save(str(path / "tokenizer.json"))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": template,
    }
    _write_json(path / "tokenizer_config.json", tokenizer_config)
    _write_json(path / "config.json", config)
    save_file(weights, path / "model.safetensors", metadata={"format": "mlx"})
    (path / "README.md").write_text(CARD, encoding="utf-8")


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _make_folder(directory: str | Path) -> Path:
    try:
        path = Path(directory).expanduser()
        if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not _is_ours(path))):
            raise LocalModelError(f"{path} already holds something else; name a new or empty folder.")
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # a home of no user, no name for a folder
        raise LocalModelError(f"{directory} cannot be made: {error}.") from None
    return path


def _is_ours(path: Path) -> bool:
    card = path / "README.md"
    return card.is_file() and card.read_text(encoding="utf-8", errors="replace") == CARD
