"""``llem completion``."""

import click
from click.shell_completion import get_completion_class

from llenergymeasure.cli import cli, streams

# click's own names for them; the variable is the one that it looks for in a program of this name.
_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_LLEM_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
def completion_command(shell: str) -> int:
    r"""Print what makes a shell complete the commands and options of llem.

    \b
    bash  echo 'eval "$(llem completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(llem completion zsh)"' >> ~/.zshrc
    fish  llem completion fish > ~/.config/fish/completions/llem.fish

    It takes effect in shells that are started afterwards. bash has to be 4.4 or newer, which that of
    macOS is not, and in zsh the line belongs below the one with compinit.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    streams.show(kind(cli, {}, "llem", _VARIABLE).source().rstrip("\n"))
    return 0
