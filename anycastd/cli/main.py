"""The command `anycastd`. A verb's module is imported when it is used: one that only asks starts within 0.15 s."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

import click

EX_USAGE = 64
EX_IOERR = 74
EX_INTERRUPTED = 130
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

VERBS: dict[str, tuple[str, str]] = {
    "run": ("anycastd.cli.run", "Run the daemon in the foreground."),
    "status": ("anycastd.cli.status", "Show prefixes, tunnels, neighbors and alarms."),
    "explain": ("anycastd.cli.explain", "Say why a prefix is announced as it is."),
    "eip": ("anycastd.cli.eip", "Allocate, bind, limit, show and watch accelerated EIPs."),
    "region": ("anycastd.cli.region", "List regions and set their traffic dials."),
    "decisions": ("anycastd.cli.decisions", "Show what was decided and why, also while the daemon is down."),
    "events": ("anycastd.cli.events", "Show what happened, and what happens."),
    "drain": ("anycastd.cli.drain", "Take a POP, neighbor, region, tunnel or backend out of use."),
    "undrain": ("anycastd.cli.drain", "Put it into use again."),
    "drains": ("anycastd.cli.drain", "List drains: phase, owner, end, and what holds them."),
    "freeze": ("anycastd.cli.freeze", "Hold every announcement, by a file on disk."),
    "unfreeze": ("anycastd.cli.freeze", "Let announcements follow health again."),
    "override": ("anycastd.cli.override", "Force a level or state by hand."),
    "overrides": ("anycastd.cli.override", "List what is forced by hand."),
    "breaker": ("anycastd.cli.breaker", "Show and reset the circuit breaker of withdrawals."),
    "attack": ("anycastd.cli.attack", "Show attacks, and what is done about them."),
    "fleet": ("anycastd.cli.fleet", "Show the fleet and its store; snapshot, restore, accept, switch."),
    "reload": ("anycastd.cli.reload", "Read the configuration again."),
    "check": ("anycastd.cli.check", "Check a configuration file."),
    "doctor": ("anycastd.cli.doctor", "Look for what breaks a POP on this machine."),
    "init": ("anycastd.cli.init", "Write a first configuration from what this machine has."),
    "down": ("anycastd.cli.down", "Leave; with --purge remove all of ours from the kernel."),
    "gateway": ("anycastd.cli.gateway", "Make a region's gateway send answers back the way they came."),
    "simulate": ("anycastd.cli.simulate", "Forecast what an attack does to each POP, from a file."),
    "lab": ("anycastd.cli.lab", "Run networks of namespaces from containerlab files."),
    "version": ("anycastd.cli.version", "Print the version."),
}
"""The one list of verbs: module (whose command has the verb's name) and what --help says."""

_REFUSES_RIVAL = frozenset({"run"})


class Verbs(click.Group):
    """A group that knows its verbs' names, and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the registry."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb's command, or None."""
        if cmd_name not in VERBS:
            return None
        if cmd_name in _REFUSES_RIVAL:
            import_module("anycastd.cli.version").refuse_rival()
        command = getattr(import_module(VERBS[cmd_name][0]), cmd_name)
        if not isinstance(command, click.Command):
            message = f"{VERBS[cmd_name][0]}.{cmd_name} is not a command"
            raise TypeError(message)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; for a wrong one name the nearest, which click knows only of what is imported."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=VERBS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        # here, not above: an asking verb must not import it
        context.invoke(import_module("anycastd.cli.version").version)
        context.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Print the version."
)
def cli() -> None:
    """Announce anycast prefixes by the health of what is behind them, and carry accelerated EIPs to their backends."""


def _say_nothing_more() -> None:
    """Have no reader (`| head`, a full disk) complained of again, when Python flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; return the exit status: 0, or one of sysexits.h.

    64 usage, 65 refused by a rule, 69 no daemon, 74 what is said cannot be written, 75 not done yet, 76 not our daemon,
    77 not allowed, 78 configuration.
    """
    try:
        result = cli.main(args=arguments, prog_name="anycastd", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return EX_USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EX_INTERRUPTED
    except BrokenPipeError:
        _say_nothing_more()
        return 1
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        _say_nothing_more()
        sys.stderr.write(f"anycastd: {error.filename or 'standard output'}: {error.strerror}\n")
        return EX_IOERR
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
