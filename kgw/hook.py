"""
`kgw hook`: the named hooks. A secret is printed when it is made, and never again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgw.formats import Format

if TYPE_CHECKING:
    from kgw.hooking import Issued

app = typer.Typer(name="hook", help="Make, show and rotate named hooks.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="The hook's name, as in its URL.", metavar="NAME")]
_Output = Annotated[Format, typer.Option("--format", "-f", help="How to print.")]
_Signing = Annotated[
    bool, typer.Option("--signing", help="For GitLab: a signing secret (whsec_…) instead of a secret token.")
]
_Repositories = Annotated[
    list[str] | None,
    typer.Option("--repo", help="A repository that the hook may speak for: owner/name or host/owner/name, * and !."),
]
_Images = Annotated[
    list[str] | None,
    typer.Option("--image", help="An image that the hook may speak for: name or registry/name, * and !."),
]
_MaxBody = Annotated[int | None, typer.Option("--max-body", help="The largest body in bytes, below the ingress's own.")]
_Options = Annotated[
    Path | None,
    typer.Option("--options", help="A JSON file with the settings of a generic hook.", exists=True, dir_okay=False),
]


@app.command()
def create(
    name: _Name,
    provider: Annotated[str | None, typer.Option(help="The only provider that may use it, as in the URL.")] = None,
    repo: _Repositories = None,
    image: _Images = None,
    max_body: _MaxBody = None,
    options: _Options = None,
    signing: _Signing = False,
    output: _Output = Format.TABLE,
) -> None:
    """Make a hook, and print its URL and its secret."""
    from kgw.hooking import Hooking, Limits

    limits = Limits.parse(repo, image, max_body, options)
    _print_issued(asyncio.run(Hooking.load().create(name, provider, limits, is_signing=signing)), output)


@app.command()
def rotate(
    name: _Name,
    grace: Annotated[str, typer.Option(help="How long the old secrets still count: 30m, 24h, 7d, or 0s.")] = "24h",
    signing: _Signing = False,
    output: _Output = Format.TABLE,
) -> None:
    """Give a hook a new secret, print it, and let the old ones end."""
    from kgw.hooking import Hooking, parse_grace

    _print_issued(asyncio.run(Hooking.load().rotate(name, parse_grace(grace), is_signing=signing)), output)


@app.command()
def change(
    name: _Name,
    repo: _Repositories = None,
    image: _Images = None,
    max_body: _MaxBody = None,
    options: _Options = None,
) -> None:
    """Replace what is given, keep the rest, the secrets too."""
    from kgw.hooking import Hooking, Limits

    asyncio.run(Hooking.load().change(name, Limits.parse(repo, image, max_body, options)))
    typer.echo(f"{name} is changed", err=True)


@app.command()
def disable(name: _Name) -> None:
    """Refuse everything that comes through the hook, until it is enabled."""
    _switch(name, disabled=True)


@app.command()
def enable(name: _Name) -> None:
    """Take again what comes through the hook."""
    _switch(name, disabled=False)


@app.command()
def delete(name: _Name) -> None:
    """Forget the hook and its secrets. What came through it stays recorded."""
    from kgw.hooking import Hooking

    asyncio.run(Hooking.load().delete(name))
    typer.echo(f"{name} is deleted", err=True)


@app.command(name="list")
def list_all(output: _Output = Format.TABLE) -> None:
    """Every named hook, without its secrets."""
    import orjson

    from kgw.hooking import Hooking

    found = asyncio.run(Hooking.load().every())
    if output is Format.JSON:
        typer.echo(orjson.dumps(found).decode())
        return
    for hook in found:
        limited = ", ".join([*hook["repositories"], *hook["images"]]) or "everything"
        state = "disabled" if hook["disabled"] else "enabled"
        valid = sum(secret["is_valid"] for secret in hook["secrets"])
        typer.echo(f"{hook['name']:<24} {hook['provider'] or 'any':<12} {state:<9} {valid} secrets  {limited}")


@app.command()
def show(name: _Name, output: _Output = Format.TABLE) -> None:
    """One hook, without its secrets."""
    import orjson

    from kgw.hooking import Hooking

    hook = asyncio.run(Hooking.load().show(name))
    if output is Format.JSON:
        typer.echo(orjson.dumps(hook).decode())
        return
    for key, value in hook.items():
        typer.echo(f"{key:<15} {_told(key, value)}")


def _switch(name: str, *, disabled: bool) -> None:
    from kgw.hooking import Hooking

    asyncio.run(Hooking.load().switch(name, disabled=disabled))
    typer.echo(f"{name} is {'disabled' if disabled else 'enabled'}", err=True)


def _told(key: str, value: Any) -> str:
    if key == "secrets":
        return "; ".join(
            f"made {secret['made_at']}" + (f", until {secret['expires_at']}" if secret["expires_at"] else "")
            for secret in value
        )
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value is None else str(value)


def _print_issued(issued: Issued, output: Format) -> None:
    import orjson

    told = issued.told()
    if output is Format.JSON:
        typer.echo(orjson.dumps(told).decode())
    else:
        for key, value in told.items():
            typer.echo(f"{key:<7} {value}")
    typer.echo("This is the only time that the secret is shown.", err=True)
    for line in issued.notes:
        typer.echo(line, err=True)
