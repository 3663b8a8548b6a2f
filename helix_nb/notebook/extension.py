"""`%%helix` and `%helix`: their settings, the two magics themselves, and how IPython gets them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, needs_local_scope, no_var_expand
from traitlets import Bool, Dict, Enum, Float, Int, TraitError, Unicode, validate

from ..errors import HelixError, show_as_one_line, show_as_stopped
from ..origin import set_origin_source
from .cell.options import FORMATS, OPTIONS, options_table
from .completion import Completer
from .session import CellDefaults, NotebookSession

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

ENDS_IN_QUESTION_MARK = re.compile(
    r"(\s*(?:[\w.\[\]'\", ]+=)?\s*%helix\s+(?:ask|fix|explain)\b.*\?)[ \t]*(\n?)$"
)


@magics_class
class HelixMagics(Magics):
    """What every %%helix cell starts from; a cell's own options come first."""

    model = Unicode(None, allow_none=True, help="The model of cells that name none.").tag(config=True)
    endpoint = Unicode(None, allow_none=True, help="The endpoint of cells that name none.").tag(config=True)
    system = Unicode(None, allow_none=True, help="The system prompt of cells without -s.").tag(config=True)
    format = Enum(FORMATS, "markdown", help="How answers are shown.").tag(config=True)
    timeout = Float(None, allow_none=True, help="Seconds a cell may take; None: no limit.").tag(config=True)
    stream = Bool(True, help="Whether answers are streamed.").tag(config=True)
    quiet = Bool(False, help="Whether cells show no answer (as with -q).").tag(config=True)
    attach_tokens = Int(2000, help="Tokens that one object attached with -a may take.").tag(config=True)
    params = Dict(help="Further parameters of every request, by wire name.").tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = NotebookSession(shell, self._defaults)
        self.completer = Completer(self.session)

    @no_var_expand
    @cell_magic("helix")  # type: ignore[arg-type]  # IPython's own annotation says Never
    def cell(self, line: str, cell: str) -> None:
        """Ask a language model what stands in the cell, and show its answer while it streams.

            %%helix
            What is the capital of France?

            %%helix qwen3:8b -t 0 -o summary -a df
            Summarise this table for {{reader}}.

        {{expression}} puts in the value of a Python expression over your variables, once; an
        undefined name is an error, and nothing is sent. Errors are one red line and stop Run All.
        The answer is a row of `hx.log()`.
        """
        from .cell.request import build_cell_request
        from .cell.run import answer, dry_run
        from .cell.side_by_side import answer_side_by_side

        with errors_as_one_line():
            request = build_cell_request(self.session, line, cell, "%%helix")
            if request.options.dry_run:
                dry_run(request)
            elif len(request.options.models) > 1:
                answer_side_by_side(self.session, request)
            else:
                answer(self.session, request, show=True)

    @needs_local_scope
    @no_var_expand
    @line_magic("helix")  # type: ignore[arg-type]
    def line(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Everything around %%helix: status, endpoints, chats, the log. `%helix help` lists the commands.

        %helix                         where this session stands
        %helix ask -- TEXT             ask, and get the Reply back
        %helix use MODEL               the model from now on
        %helix connect URL             another OpenAI-compatible endpoint
        %helix fix --insert            have the last error fixed
        %helix log 5                   the last five exchanges, as a DataFrame
        """
        from .commands.table import run_command

        with errors_as_one_line(), self.session.in_function(local_ns):
            return run_command(self.session, line)

    def _defaults(self) -> CellDefaults:
        """Return the settings as plain data."""
        return CellDefaults(**{field.name: getattr(self, field.name) for field in fields(CellDefaults)})

    @validate("model", "system", "endpoint")
    def _no_key(self, proposal: Any) -> Any:
        from ..config.registry import resolve
        from ..errors import ConfigError
        from .cell.arguments import refuse_keys

        value = proposal["value"]
        try:
            refuse_keys(value or "")
            if proposal["trait"].name == "endpoint" and value is not None:
                resolve(value)
        except ConfigError as error:
            raise TraitError(str(error)) from None
        return value

    @validate("params")
    def _wire_names(self, proposal: Any) -> Any:
        from .cell.arguments import SET_OTHERWISE

        wrong = [name for name in proposal["value"] if not isinstance(name, str) or name in SET_OTHERWISE]
        if wrong:
            raise TraitError(
                f"HelixMagics.params holds parameters by their wire names, and not {wrong[0]!r}."
            )
        return proposal["value"]

    @validate("timeout", "attach_tokens")
    def _positive(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and not value > 0:
            raise TraitError(f"HelixMagics.{proposal['trait'].name} is above 0, not {value!r}.")
        return value


# Written as documentation: `%%helix?` shows it.
vars(HelixMagics)["cell"].__doc__ += f"\n{options_table(OPTIONS)}\n"


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Let a HelixError or an interrupt leave a magic as one red line instead of a traceback.

    Anything else keeps its traceback: it is a bug, or comes from the user's own code.
    """
    try:
        yield
    except HelixError as error:
        show_as_one_line(error, str(error))
        error.__traceback__ = None
        error.__suppress_context__ = True
        raise
    except KeyboardInterrupt as interrupt:
        show_as_stopped(interrupt)
        raise


def load(shell: InteractiveShell) -> None:
    """Register the magics, their completion, and the events that tell which cell is running."""
    if loaded_magics(shell) is not None:
        return
    magics = _make_magics(shell)
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.session.cell.pre_run_cell)
    shell.events.register("post_run_cell", magics.session.cell.post_run_cell)
    shell.input_transformers_cleanup.append(protect_question_mark)
    completer = getattr(shell, "Completer", None)
    if completer is not None:
        completer.custom_matchers.append(magics.completer)
    set_origin_source(magics.session.cell.origin)


def unload(shell: InteractiveShell) -> None:
    """Take everything out again that `load` put in."""
    magics = loaded_magics(shell)
    if magics is None:
        return
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("helix", None)
    shell.events.unregister("pre_run_cell", magics.session.cell.pre_run_cell)
    shell.events.unregister("post_run_cell", magics.session.cell.post_run_cell)
    shell.input_transformers_cleanup.remove(protect_question_mark)
    matchers = getattr(getattr(shell, "Completer", None), "custom_matchers", [])
    matchers[:] = [matcher for matcher in matchers if matcher is not magics.completer]
    configurables: list[Any] = shell.configurables
    configurables.remove(magics)
    set_origin_source(None)


def loaded_magics(shell: InteractiveShell) -> HelixMagics | None:
    """Return the magics of this shell, if they are loaded."""
    configurables: list[Any] = shell.configurables
    return next((each for each in configurables if isinstance(each, HelixMagics)), None)


def _make_magics(shell: InteractiveShell) -> HelixMagics:
    """Make the magics as configured; IPython keeps settings that were refused, and they are refused again."""
    try:
        return HelixMagics(shell)
    except TraitError as refused:
        configurables: list[Any] = shell.configurables
        configurables[:] = [each for each in configurables if not isinstance(each, HelixMagics)]
        shell.config.pop("HelixMagics", None)
        warnings.warn(f"{refused} All settings of HelixMagics are back to their defaults.", stacklevel=2)
        return HelixMagics(shell)


def protect_question_mark(lines: list[str]) -> list[str]:
    """Keep IPython from reading `%helix ask -- Why?` as a question about the object `Why`.

    A space after the mark is enough; the prompt is stripped of it again.
    """
    return [ENDS_IN_QUESTION_MARK.sub(r"\1 \2", line) for line in lines]
