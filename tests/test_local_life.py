"""The life of a local model's process: started when needed, ended when not, and never in the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

import helix_nb as hx
from helix_nb.chat.ask import prepare
from helix_nb.config.registry import configure
from helix_nb.config.session import aliases
from helix_nb.endpoints.local import process, tiny_model
from helix_nb.endpoints.local.pool import unload, workers

if find_spec("mlx_lm") is None:
    pytest.skip("local models need the extra: pip install 'helix-nb[local]'", allow_module_level=True)
pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny model that ships, with random weights."""
    yield str(tiny_model.build(tmp_path_factory.mktemp("tiny")))
    unload()


def asked(model: str, prompt: str, **params: Any) -> hx.Reply:
    return hx.ask(prompt, endpoint="local", model=model, **params)


def worker_pid() -> int:
    (worker,) = workers()
    return worker.process.pid


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting for it no longer than it may take."""
    try:
        psutil.Process(pid).wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


KERNEL = """
    import os, signal, sys, time
    import helix_nb as hx
    from helix_nb.endpoints.local.pool import workers

    def ask(prompt="Hello", **params):
        return hx.ask(prompt, endpoint="local", model=sys.argv[1], **params)

    def pid():
        return workers()[0].process.pid
"""


def kernel(model: str, code: str) -> subprocess.Popen[str]:
    """A process of its own that uses the local model, in a group of its own as kernels are."""
    script = textwrap.dedent(KERNEL) + textwrap.dedent(code)
    root = str(Path(hx.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", script, model],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        env={**os.environ, "PYTHONPATH": root},
    )


def test_kill_9_in_mid_stream_is_an_error_with_the_text_so_far(model: str) -> None:
    """The kernel survives its worker: a sentence, the partial text, a log, and a new worker next time."""
    expected = asked(model, "Hello", max_tokens=600).text
    with (
        pytest.raises(hx.LocalModelError, match=r"SIGKILL.*memory.*next request starts it anew") as caught,
        hx.stream("Hello", endpoint="local", model=model, max_tokens=2000) as s,
    ):
        for number, _ in enumerate(s):
            if number == 5:
                os.kill(worker_pid(), signal.SIGKILL)
    reply = caught.value.reply
    assert reply is not None and reply.status == "error"
    assert reply.text and expected[: len(reply.text)] == reply.text[: len(expected)]
    assert reply.usage.completion_tokens
    assert Path(str(caught.value).rpartition("Its log: ")[2]).is_file()
    assert asked(model, "Hello", max_tokens=5).status == "ok"


def test_a_long_prompt_that_is_stopped_frees_the_model_and_is_counted(tmp_path: Path) -> None:
    """Stopped before its first token, a request has its prompt's length; the next waits for no more of it."""
    slow = str(
        tiny_model.build(
            tmp_path / "slow", tiny_model.Shape(layers=6, hidden=512, heads=8, context_length=8192)
        )
    )
    short = asked(slow, "Hello", max_tokens=1).usage.prompt_tokens
    running = prepare("word " * 1500, endpoint="local", model=slow, max_tokens=5).begin()
    while not running.reply.usage.prompt_tokens:
        assert not running.done
        running.wait_for_change(0.1)
    reply = running.cancel()
    assert (reply.status, reply.text) == ("interrupted", "")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7511, 0)
    following = asked(slow, "Hello again", max_tokens=1)
    assert following.duration_ms is not None and following.duration_ms < 4000
    assert short and short < 20
    unload()


def test_a_batch_does_not_load_a_broken_model_for_each_row(tmp_path: Path) -> None:
    """All rows have the sentence of the first try; asked by itself, the model is tried again."""
    model = tiny_model.build(tmp_path / "m")
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:600])
    frame = pd.DataFrame({"n": range(60)})
    answers = frame.helix.ask("Row {{n}}", endpoint="local", model=str(model), progress=False)
    assert set(answers["answer_status"]) == {"error"}
    assert answers["answer_error"].str.contains("are damaged or incomplete; download it again").all()
    (worker,) = (worker for worker in workers() if worker.spec.display_name == str(model))
    assert worker.log.name in {log.name for log in process.log_folder().iterdir()}
    started = [log for log in process.log_folder().iterdir() if log.name.startswith(worker.log.name[:-12])]
    assert len(started) == 1
    (model / "model.safetensors").write_bytes(weights)
    assert asked(str(model), "Hello", max_tokens=3).status == "ok"


def test_idle_models_are_unloaded_and_come_back(model: str) -> None:
    """After `idle_unload_s` without a request the process ends by itself; the next request starts one."""
    unload()
    configure("local", idle_unload_s=0.05)
    asked(model, "Hello", max_tokens=3)
    (worker,) = workers()
    assert worker.process.wait(20) == 0
    assert asked(model, "Hello", max_tokens=3).status == "ok"
    configure("local", idle_unload_s=0)


def test_unload_ends_the_process(model: str) -> None:
    """`unload` names what it unloaded, and leaves no process behind."""
    asked(model, "Hello", max_tokens=3)
    (worker,) = workers()
    assert unload() == [model]
    assert worker.process.poll() == 0
    assert unload() == []


def test_a_model_is_unloaded_by_any_of_its_names(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path, an alias and the folder itself mean the same process."""
    monkeypatch.chdir(Path(model).parent)
    for name in (model, Path(model).name, "short"):
        aliases()["short"] = model
        asked(model, "Hello", max_tokens=3)
        assert unload(name) == [model]
    assert unload("qwen3:8b") == []


def test_models_that_hang_are_ended_side_by_side(model: str, tmp_path: Path) -> None:
    """Processes that do not end by themselves take one second together, not one each."""
    others = [str(tiny_model.build(tmp_path / name)) for name in ("a", "b")]
    for name in (model, *others):
        asked(name, "Hello", max_tokens=3)
    for worker in workers():
        os.kill(worker.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert len(unload()) == 3
    assert time.monotonic() - started < 2


def test_a_worker_starts_whatever_became_of_its_surroundings(model: str, tmp_path: Path) -> None:
    """A long path, numpy's numbers as settings, and a temporary folder tidied away stop no model."""
    unload()
    configure("local", memory_bytes=np.int64(10**12), cache_bytes=np.float32(1e6))
    shutil.rmtree(process.log_folder())
    deep = tmp_path.joinpath(*["x" * 90] * 4)
    deep.parent.mkdir(parents=True)
    shutil.copytree(model, deep)
    assert asked(str(deep), "Hello", max_tokens=3).status == "ok"
    unload()


def test_what_will_not_fit_is_said_before_loading(model: str) -> None:
    """A model larger than the memory gets a warning with both numbers, and is tried all the same."""
    unload()
    configure("local", memory_bytes=1_000_000)
    reply = asked(model, "Hello", max_tokens=3)
    (note,) = reply.notes
    assert "needs about 0.00148 GB" in note and "0.001 GB are there" in note
    assert reply.status == "ok"
    unload()


def test_an_interrupt_of_the_kernel_stops_the_answer_not_the_model(model: str) -> None:
    """Ctrl-C, to the whole group as terminals and kernels send it, ends one answer; the worker stays."""
    code = """
        import threading
        ask(max_tokens=3)
        before = pid()
        threading.Timer(0.5, os.killpg, (0, signal.SIGINT)).start()
        try:
            ask(max_tokens=4000)
        except KeyboardInterrupt:
            print("interrupted", hx.last.status, 0 < hx.last.usage.completion_tokens < 4000)
        print(ask(max_tokens=5).status, pid() == before)
    """
    with kernel(model, code) as process:
        out, _ = process.communicate(timeout=60)
    assert out.splitlines() == ["interrupted interrupted True", "ok True"]
    assert process.returncode == 0


def test_the_interpreter_leaves_at_once_and_takes_its_worker_along(model: str) -> None:
    """With an answer still streaming, the script ends with code 0, fast, and no process is left."""
    code = """
        from helix_nb.chat.ask import prepare
        running = prepare("Hello", endpoint="local", model=sys.argv[1], max_tokens=4000).begin()
        while not running.reply.text:
            running.wait_for_change(1)
        print(pid(), flush=True)
        import threading
        print(sorted(t.name for t in threading.enumerate() if not t.daemon))
    """
    with kernel(model, code) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "['MainThread']\n"
        assert process.wait(10) == 0
    assert gone(pid)


def test_a_killed_kernel_leaves_no_orphan_even_if_a_forked_child_lives_on(model: str) -> None:
    """The worker ends with its kernel, also while a child of the kernel holds on to its pipe."""
    code = """
        from helix_nb.chat.ask import prepare
        running = prepare("Hello", endpoint="local", model=sys.argv[1], max_tokens=4000).begin()
        while not running.reply.text:
            running.wait_for_change(1)
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        print(pid(), child, flush=True)
        time.sleep(60)
    """
    with kernel(model, code) as process:
        assert process.stdout is not None
        worker, child = map(int, process.stdout.readline().split())
        process.kill()
        process.stdout.close()
    assert gone(worker)
    os.kill(child, signal.SIGKILL)


def test_a_forked_child_starts_a_worker_of_its_own(model: str) -> None:
    """Parent and child answer alike, from two processes, and both leave with code 0."""
    code = """
        text, parents = ask(max_tokens=5).text, pid()
        child = os.fork()
        if child == 0:
            same = ask(max_tokens=5).text == text
            print(same, pid() != parents, flush=True)
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        print(status, ask(max_tokens=5).text == text, pid() == parents)
    """
    with kernel(model, code) as process:
        out, _ = process.communicate(timeout=60)
    assert out.splitlines() == ["True True", "0 True True"]
    assert process.returncode == 0
