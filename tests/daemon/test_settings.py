"""The configuration: every error names its place, and the guide matches the schema."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.cli import run_command
from edge_runtime.daemon.outputs import Host, open_sinks
from edge_runtime.errors import ConfigError
from edge_runtime.settings import Settings, parse_settings, read_secret, read_settings
from edge_runtime.settings.describe import document, effective, example, tables
from tests.support.processes import ROOT, run_cli


def test_an_empty_file_means_all_defaults() -> None:
    assert parse_settings("") == Settings()


def test_the_example_has_every_key_at_its_default() -> None:
    text = example()
    assert parse_settings(text) == Settings()
    whole = parse_settings(
        "\n".join(
            line[1:] if line.startswith("#") and not line.startswith("# ") else line
            for line in text.splitlines()
        )
    )
    for table in tables():
        part: object = whole
        for name in table.name.split("."):
            part = part.get(name) if isinstance(part, dict) else getattr(part, name)
        assert part is not None, table.name
        assert f"[{table.name}]" in text
        for key in table.keys:
            assert key.text, f"{table.name}.{key.name} has no description"
    assert parse_settings(effective(whole)) == whole


def test_the_guide_is_generated_from_the_schema() -> None:
    assert (ROOT / "docs" / "CONFIGURATION.md").read_text(encoding="utf-8") == document()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[camera]\nfps = 0", r"edge.toml:2: camera.fps: expected `float` > 0"),
        ("[camera]\nfps = " + "9" * 5000 + "\n[gate]", r"edge.toml:2: .* a number is too long"),
        ("[camera]\nfps = 0x" + "f" * 5000, r"edge.toml:2: camera.fps: "),
        ("[camera]\nfps = 1e999", r"edge.toml:2: camera.fps: "),
        ("\na" + ".a" * 20_000 + " = 1", r"edge.toml:2: a key has more than 8 parts"),
        ("[a" + " . 'a'" * 9_000 + "]", r"edge.toml:1: a key has more than 8 parts"),
        ("a = {" + "a." * 20_000 + "a = 1}", r"edge.toml:1: a key has more than 8 parts"),
        ("a = " + "[" * 50_000, r"edge.toml:1: not valid TOML"),
        ("a = " + "{a=" * 20_000, r"edge.toml:1: not valid TOML"),
        ('"\\u001b[2J" = 1', r"edge.toml: .\[2J: unknown key"),
        ("[camera]\nfps = nan", r"edge.toml:2: camera.fps: "),
        ("[camera]\nfps = true", r"edge.toml:2: camera.fps: expected `float`, got `bool`"),
        ("\n[camera]\nsource = 3", r"edge.toml:3: camera.source: expected `str`, got `int`"),
        ("[camera]\n\nfpx = 1", r"edge.toml:3: camera.fpx: unknown key \(docs/"),
        ("[decision]\nneigbors = 1", r"unknown key \(did you mean neighbors\? docs/"),
        ("[cameras.hall]\nsorce = 1", r"unknown key \(did you mean source\? docs/"),
        ("[decisions]\na = 1", r"decisions: unknown key \(did you mean decision\? docs/"),
        ("[nope]\na = 1", r"edge.toml:1: nope: unknown key \(docs/"),
        ("camera = 3", r"edge.toml:1: camera: expected a table, got `int`"),
        ("camera.fps = 500", r"edge.toml:1: camera.fps: expected `float` <= 240"),
        ("[mqtt]\nport = 1883", r"edge.toml:1: mqtt.host: this key is required in \[mqtt\]"),
        ("[exec]\ncommand = []", r"edge.toml:2: exec.command: expected `array` of length >= 1"),
        ("[exec]\ncommand = [1]", r"edge.toml:2: exec.command\[0\]: expected `str`"),
        ('[output]\nformat = "xml"', r"edge.toml:2: output.format: Invalid enum value 'xml'"),
        ('[webhook]\nurl = "ftp://x"', r"edge.toml:2: webhook.url: expected `str` matching"),
        ("[decision]\nwindow = 2.5", r"edge.toml:2: decision.window: expected `int`"),
        ("[camera]\nfps = ", "edge.toml:2: not valid TOML: Invalid value"),
        ("[camera]\nfps = 1\nfps = 2", r"edge.toml:3: not valid TOML: Cannot overwrite a value"),
        ("[camera]\nretry_shortest_s = 50", r"edge.toml:2: camera.retry_shortest_s: 50 is greater"),
        ('[http]\nhost = "0.0.0.0"', r"edge.toml:2: http.host: .*a token is required"),
        ('[mqtt]\nhost = "a"\nport = 0', r"edge.toml:3: mqtt.port: expected `int` >= 1"),
        ('[webhook]\nurl = "http://:80/x"', r"edge.toml:2: webhook.url: not a valid address"),
        ('[webhook]\nurl = "http://a:b/"', r"edge.toml:2: webhook.url: not a valid address"),
        ('[webhook]\nurl = "http://[a/"', r"edge.toml:2: webhook.url: not a valid address"),
        ('[webhook]\nurl = "http://a/b c"', r"edge.toml:2: webhook.url: contains characters"),
        ('[webhook]\nurl = "http://a/\u00e9"', r"edge.toml:2: webhook.url: contains characters"),
        ('[webhook]\nurl = "http://me:pw@a/"', r"edge.toml:2: webhook.url: a user and password"),
        ('[exec]\ncommand = ["a\\u0000"]', r"edge.toml:2: exec.command: contains a NUL character"),
        ('[camera]\nsource = "a\\u0000"', r"edge.toml:2: camera.source: contains a NUL character"),
        ('[gallery]\npath = "~no-one/g"', r"edge.toml:2: gallery.path: no user of that name"),
        ('[camera]\nsource = "~no-one/g"', r"edge.toml:2: camera.source: no user of that name"),
        (
            '[mqtt]\nhost = "a"\npassword_file = "b"',
            r"edge.toml:3: mqtt.password_file: a password needs a username",
        ),
        *(
            (
                f'[camera]\nsource = "{source}"\npassword_file = "b"',
                r"edge.toml:3: camera.password_file: it needs a URL with a user and without a pass",
            )
            for source in ("0", "http://camera/video", "rtsp://me:pw@camera/stream", "film.mp4")
        ),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_settings(path)
    assert caught.value.remedy
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (1 << 21)])
def test_files_that_are_not_text_or_too_large(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "edge.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"edge\.toml: "):
        read_settings(path)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_a_configuration_that_is_no_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "edge.toml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(ConfigError, match=r"this is a (FIFO|folder|device), not a"):
        read_settings(path)


def test_certificates_that_are_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    text = f'[output]\nformat = "none"\n[mqtt]\nhost = "a"\nca_file = "{tmp_path}/ca.pem"\n'
    with pytest.raises(ConfigError, match="this is a FIFO"):
        open_sinks(parse_settings(text), Host(), lossless=False)


def test_dots_in_texts_and_comments_are_no_keys() -> None:
    dots = "a." * 100
    text = f'[camera]\nsource = "{dots}"  # {dots}\n[output]\n# {dots}\n'
    assert parse_settings(text).camera.source == dots
    assert parse_settings(f"[camera]\nsource = '''\n{dots}'''").camera.source == dots


@given(st.text(max_size=60))
def test_any_text_is_accepted_or_rejected_in_one_line(text: str) -> None:
    try:
        parse_settings(text, where="edge.toml")
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("edge.toml")


def test_paths_are_relative_to_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").touch()
    path = tmp_path / "edge.toml"
    path.write_text('gallery.path = "g.sqlite"\n[camera]\nsource = "film.mp4"\n[model]\npath="/m"')
    settings = read_settings(path)
    assert settings.gallery.path == str(tmp_path / "g.sqlite")
    assert settings.camera.source == str(tmp_path / "film.mp4")
    assert settings.model.path == "/m"


def test_byte_order_mark_and_a_source_with_a_long_name(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    source = "a" * 300
    path.write_bytes(f'\ufeff[camera]\nsource = "{source}"\n'.encode())
    assert read_settings(path).camera.source == source


def test_a_source_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "film.mp4").touch()
    path = tmp_path / "edge.toml"
    path.write_text('camera.source = "~/film.mp4"')
    assert read_settings(path).camera.source == str(tmp_path / "film.mp4")


def test_a_source_without_permission_fails_only_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "edge.toml"
    path.write_text('camera.source = "film.mp4"')
    monkeypatch.setattr(Path, "exists", refuse)
    assert read_settings(path).camera.source == str(tmp_path / "film.mp4")


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret \n")
    assert read_secret(str(path)) == "s3cret"
    for content in ("", "\n", "  \nlater"):
        path.write_text(content)
        with pytest.raises(ConfigError, match="first line is empty"):
            read_secret(str(path))
    with pytest.raises(ConfigError, match="no such file"):
        read_secret(str(tmp_path / "none"))


def test_config_commands(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    done = run_cli("config", "example")
    path.write_text(done.stdout)
    assert run_cli("config", "check", path).stdout == f"{path}: OK\n"
    assert "threshold = 16" in run_cli("config", "show", path).stdout
    path.write_text("[camera]\nfps = 'fast'")
    done = run_cli("config", "check", path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"edge-runtime: {path}:2: camera.fps: expected `float`")
    assert run_cli("config", "check", tmp_path / "none").returncode == 3
    assert run_cli("run", "--config", path).returncode == 3


def test_a_written_example_is_private_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edge.toml"
    old = os.umask(0)
    try:
        assert run_command(["config", "example", "--out", str(path)]) == 0
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == example()
    assert run_command(["config", "example", "--out", str(path)]) == 3
    assert "edge.toml: the file exists" in capsys.readouterr().err
    assert run_command(["config", "example", "--out", str(tmp_path / "no/edge.toml")]) == 6


def test_shown_settings_have_no_secrets() -> None:
    settings = parse_settings(
        '[camera]\nsource = "rtsp://me:Zq1S3cret@camera/stream"\n'
        '[webhook]\nurl = "https://a.example/services/Zq1S3cret?key=Zq1S3cret"\n'
        '[exec]\ncommand = ["/bin/send", "--token=Zq1S3cret", "https://me:Zq1S3cret@a/"]'
    )
    shown = effective(settings)
    assert "Zq1S3cret" not in shown
    assert 'source = "rtsp://camera/stream"' in shown
