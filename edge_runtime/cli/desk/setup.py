"""`edge-runtime desk init` and `rotate`: the folder and its keys."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.cli.common import echo
from edge_runtime.cli.desk.options import (
    desk_option,
    passphrase_from,
    passphrase_option,
    root_keys_option,
)


@click.command("init")
@desk_option
@click.option("--fleet", required=True, help="Name of the fleet: letters, digits, . _ and -.")
@click.option(
    "--root-keys",
    "root_keys",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="A folder outside of the desk for the three root keys, best on a medium of its own.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False),
    help="A file whose first line encrypts the root keys.  [default: not encrypted]",
)
@click.option(
    "--gallery",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Begin with a copy of this gallery.  [default: an empty one]",
)
@click.option("--model", type=click.Path(path_type=Path), help="The model of an empty gallery.")
@click.option("--broker", metavar="HOST[:PORT]", help="The MQTT broker of the fleet.")
@click.option("--broker-tls", is_flag=True, help="Encrypt the connection to the broker.")
@click.option("--broker-ca-file", default="", help="Trusted certificates of the broker, PEM.")
@click.option("--broker-user", default="", help="The desk's user at the broker.")
@click.option("--broker-password-file", default="", help="A file with the user's password.")
def init(
    folder: Path,
    fleet: str,
    root_keys: Path,
    passphrase_file: str | None,
    gallery: Path | None,
    model: Path | None,
    broker: str | None,
    broker_tls: bool,
    broker_ca_file: str,
    broker_user: str,
    broker_password_file: str,
) -> None:
    """Make the folder of a desk, its keys, and version 1 of the gallery."""
    import msgspec

    from edge_runtime.desk.settings import Broker, DeskSettings, parse_settings, settings_text
    from edge_runtime.desk.setup import make_desk
    from edge_runtime.engine import open_engine
    from edge_runtime.settings.secrets import read_secret

    at = None
    if broker is not None:
        host, _, port = broker.rpartition(":") if broker.count(":") == 1 else (broker, "", "")
        at = Broker(
            host=host.strip("[]"),
            port=_port(port or ("8883" if broker_tls else "1883")),
            tls=broker_tls,
            ca_file=broker_ca_file,
            username=broker_user,
            password_file=broker_password_file,
        )
    try:
        settings = parse_settings(settings_text(DeskSettings(fleet=fleet, broker=at)))
    except msgspec.MsgspecError as error:
        raise click.UsageError(f"{error}") from error
    passphrase = read_secret(passphrase_file).encode() if passphrase_file else b""
    info = None if gallery is not None else open_engine(model).model
    make_desk(folder, root_keys, settings, model=info, gallery=gallery, passphrase=passphrase)
    echo(f"{folder}: version 1 of the fleet {fleet} is signed; serve {folder / 'public'}")
    echo(f"{root_keys}: three root keys; move each of them offline, to a different place")
    echo(f"boards join with {folder / 'root.json'}")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise click.UsageError(f"--broker: {text} is not a port")
    return int(text)


@click.command("rotate")
@desk_option
@root_keys_option
@passphrase_option
@click.option("--keep-online-keys", is_flag=True, help="Only renew the root.")
@click.option(
    "--replace-lost",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new file for a root key that replaces the lost one; name the other two.",
)
def rotate(
    folder: Path,
    places: tuple[Path, ...],
    passphrase_file: str | None,
    keep_online_keys: bool,
    replace_lost: Path | None,
) -> None:
    """Replace the online keys and renew the root, with two root keys.

    Do this once a year, and at once if the online keys may have been copied. Boards follow by
    themselves.
    """
    from edge_runtime.desk.folder import Desk
    from edge_runtime.desk.signing import root

    passphrase = passphrase_from(passphrase_file)
    desk = Desk(folder)
    with desk.signing() as repository:
        keys = root.read_root_keys(places, repository.root.signed, passphrase)
        word = passphrase(replace_lost) if replace_lost and passphrase_file else b""
        new = root.rotate(
            repository,
            keys,
            online=not keep_online_keys,
            replacement=replace_lost,
            passphrase=word,
        )
    echo(f"{folder}: root {new.signed.version} is valid until {new.signed.expires:%Y-%m-%d}")


COMMANDS = (init, rotate)
