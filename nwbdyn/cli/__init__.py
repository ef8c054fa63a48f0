"""The command line: a click group whose verbs are imported only when they are called."""

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from nwbdyn import spelling
from nwbdyn.cli import documents, exhausted, terminal
from nwbdyn.errors import ConfigError, NwbdynError, not_among
from nwbdyn.printable import printable
from nwbdyn.version import __version__


class Verbs(click.Group):
    """One file `cmd_<verb>.py` per verb, listed without importing it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = [path.stem.removeprefix("cmd_") for path in Path(__file__).parent.glob("cmd_*.py")]
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        return import_module(f"nwbdyn.cli.cmd_{name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Guess what a misspelt verb was meant to be."""
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not ctx.resilient_parsing:
            ctx.fail(f"No command {args[0]!r}{not_among(args[0], verbs)}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        documents.notice(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; our own errors become one line on stderr and exit code 1, Ctrl-C 130.

        An unknown model, option or value ends with 2, like every other wrong command line.
        """
        with spelling.on_command_line():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(error.message, lines=True)  # type: ignore[misc]
            kind = "UsageError" if isinstance(error, click.UsageError) else type(error).__name__
            documents.write_error(ctx, kind, error.format_message(), error.exit_code)
            raise
        except NwbdynError as error:
            code = 2 if isinstance(error, ConfigError) else 1
            terminal.line(f"nwbdyn: {error}", err=True)
            documents.write_error(ctx, type(error).__name__, str(error), code)
            ctx.exit(code)
        except KeyboardInterrupt:
            stopped = "Stopped. No file was left half written; the same command starts again."
            terminal.echo(f"\n{stopped}", err=True)
            documents.write_error(ctx, "Interrupted", stopped, 130)
            ctx.exit(130)
        except Exception as error:
            line = exhausted.line(error)
            if line is None:
                raise
            terminal.echo(f"nwbdyn: {line}", err=True)
            documents.write_error(ctx, "MemoryError", line, 1)
            ctx.exit(1)


# the order in which people need them
_ORDER = [
    "find",
    "inspect",
    "fetch",
    "fit",
    "report",
    "validate",
    "export",
    "reproduce",
    "notebook",
]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nwbdyn")
def main() -> None:
    """Functional connectivity over time between the neurons of an NWB recording.

    An ADDRESS is dandi:ID[@VERSION][/path-or-glob], a dandiarchive.org link, an https URL of a
    file, a local .nwb file or folder, or sample:reach and sample:cortex (simulated here, no
    network).
    """
    # Before torch is imported: its threads would spin while they wait for each other, which takes
    # processors from other programs and, where these take them back, slows fits of small models.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    terminal.guard()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a C locale must not crash a table
