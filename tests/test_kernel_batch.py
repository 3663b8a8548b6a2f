"""Batches in real kernels: two that share one, what a person sees of it, and an interrupt half-way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from batch_server import BatchServer
from kernel_session import KernelSession, Ran

ASK = """
import pandas as pd, helix_nb as hx
hx.connect({url!r}, name="s", model="m")
done = pd.DataFrame({{"n": range(200)}}).helix.ask("row {{{{n}}}} please", name="shared", concurrency=8)
"""
COUNTS = "done['answer_status'].value_counts().to_dict() | {'sent': done.attrs['batch']['requests']}"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HELIX_NB_LOG": str(tmp_path / "log.db")}


def test_two_kernels_share_a_batch_and_each_row_is_sent_once(environ: dict[str, str]) -> None:
    """Both kernels end with all 200 answers, and the server saw each row once."""
    with BatchServer(latency_s=0.02) as server:
        kernels = [KernelSession(environ), KernelSession(environ)]
        try:
            code = ASK.format(url=server.url)
            cells = [threading.Thread(target=kernel.run, args=(code,)) for kernel in kernels]
            for cell in cells:
                cell.start()
            for cell in cells:
                cell.join()
            found = [kernel.value(COUNTS) for kernel in kernels]
        finally:
            for kernel in kernels:
                kernel.close()
        assert [each["ok"] for each in found] == [200, 200]
        assert sum(each["sent"] for each in found) == server.count == len(set(server.prompts())) == 200


def test_an_interrupt_stops_a_batch_and_the_next_run_pays_only_the_rest(
    environ: dict[str, str],
) -> None:
    """The cell says how far it came, the kernel works on, and the rerun sends what is left."""
    with BatchServer(latency_s=0.05) as server:
        kernel = KernelSession(environ)
        stopping = threading.Event()

        def interrupt() -> None:
            server.wait_for(100)
            kernel.manager.interrupt_kernel()

        def stop_at_half(_: Ran) -> None:
            if not stopping.is_set():
                stopping.set()
                threading.Thread(target=interrupt).start()

        try:
            stopped = kernel.run(ASK.format(url=server.url), during=stop_at_half)
            assert stopped.error is not None and stopped.error["ename"] == "KeyboardInterrupt"
            assert "Stopped: " in stopped.printed and "of 200 rows are done; run it again" in stopped.printed
            sent = server.count
            assert 100 <= sent < 200
            assert kernel.run("1 + 1").status == "ok"
            again = kernel.run(ASK.format(url=server.url))
            assert "Reusing " in again.printed and again.status == "ok"
            assert kernel.value(COUNTS)["ok"] == 200
            assert server.count <= 200 + 8
        finally:
            kernel.close()
