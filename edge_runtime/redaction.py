"""Hide secrets in text that is shown, logged, stored or sent.

A camera's address may carry a user, a password and tokens, in forms that no standard allows. What
is shown is therefore chosen from what is known to be harmless: the scheme, the host, the port, and
the common words of camera paths. Everything else is replaced by `***`.
"""

from __future__ import annotations

import re

HIDDEN = "***"
# re.compile compiles a pattern at its first use, and remembers it. At import it would take 1 ms of
# each start.

_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]{0,30})(?::[/\\]{2,})"
_HOST = r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?|\*\*\*"
_NUMBER = r"#\d{1,12}"
_TRAILING = r"[)\]'\"]?[.,:;]?$"
"""Punctuation of the sentence around an address. Where more follows, it may belong to a secret."""
_LOGIN = r"[^\s:@/\\'\"(]*:[^\s@]*@(?:[^\s@]*@)*"
_VALUE = (
    r"(?i)((?:(?<=[^a-z])|^)(?:user|usr|login|account|pass|pwd?|psk|pin|token|auth|secret|sig|jwt|"
    r"session|credential|(?:api|access|private|stream)[_-]?key|key)[a-z_-]{0,16}(?:=|%3d))"
    r"[^\s&;,'\")]+"
)
_BEARER = r"(?i)\b((?:bearer|basic|digest)\s+)[A-Za-z0-9+/=._~-]{6,}"
_WORDS = r"[A-Za-z]+|\d+|[^A-Za-z\d]"
_COMMON = """
a aac action alarm asp aspx audio av avi axis back backyard bin cam camera cameras cams cgi ch
chan channel channels ctrl default definition dev device door drive driveway event events export
ext feed file fps frame frames front garage garden gate get h hall hallway height high hls hook
hooks html http https id image images img index inst ip jpeg jpg kitchen lan live liveview local
low m main mainstream media medium mjpeg mjpg mode mp mpeg mpegts multicast normal notify office
onvif path php play playlist porch port preview profile push quality realmonitor res resolution
room rtsp sd sdp shot size snap snapshot src stream streaming streams sub substream subtype test
third track ts type u udp unicast v video videos videostream view web webcam width x yard
"""
_HARMLESS = frozenset(_COMMON.split())
"""Words of the paths that cameras use, and of rooms."""


def redact(text: str) -> str:
    """Return `text` without the secrets of the addresses in it; applying it twice changes nothing.

    Hides users, passwords, tokens, and all of an address that is not certainly harmless.
    """
    if not any(mark in text for mark in ("@", "=", "://", ":\\\\", "%", "earer", "asic", "igest")):
        return text
    pieces, at = [], 0
    while found := re.compile(_SCHEME).search(text, at):
        end = _end_of_address(text, found.end())
        trailing = re.compile(_TRAILING).search(text, found.end(), end)
        stop = end if trailing is None else trailing.start()
        pieces += [_plain(text[at : found.start()]), f"{found[1]}://"]
        pieces += [_address(text[found.end() : stop]), text[stop:end]]
        at = end
    pieces.append(_plain(text[at:]))
    return "".join(pieces)


def redact_source(text: str) -> str:
    """Return what may be shown of a text that was meant to be a camera: an address or a path."""
    if "://" in text:
        scheme, _, rest = text.partition("://")
        return (
            f"{scheme}://{_address(rest)}"
            if re.compile(_SCHEME).fullmatch(f"{scheme}://")
            else HIDDEN
        )
    return HIDDEN if re.search(r"[@?&=;%]|:[/\\]", text) else text


def _end_of_address(text: str, at: int) -> int:
    """Return where the address ends whose scheme ends at `at`.

    It ends at a space or a quote. A password may contain both, so it ends no earlier than the last
    "@" of the line, up to the next address.
    """
    line = re.compile(r"[\r\n]|\s[A-Za-z][A-Za-z0-9+.-]{0,30}:[/\\]{2}").search(text, at)
    stop = len(text) if line is None else line.start()
    last = text.rfind("@", at, stop)
    space = re.compile(r"[\s'\"<>|]").search(text, max(at, last), stop)
    return stop if space is None else space.start()


def _address(rest: str) -> str:
    """Return what may be shown of an address behind its `://`."""
    found = re.search(r"[/?#\\]", rest)
    begin = len(rest) if found is None else found.start()
    authority, tail = rest[:begin], rest[begin:]
    host = authority.rpartition("@")[2]
    # A password with a slash or a question mark: where the host begins is not certain.
    if "@" in tail or "\\" in tail or not re.compile(_HOST).fullmatch(host):
        number = re.search(r"#\d{1,12}$", tail)  # of a frame
        return HIDDEN + (number[0] if number else "")
    address, sharp, fragment = tail.partition("#")
    path, mark, query = address.partition("?")
    shown = host + "/".join(_part(segment, ";,&") for segment in path.split("/"))
    if mark:
        shown += "?" + _part(query, "&;")
    if sharp:
        shown += f"#{fragment}" if re.compile(_NUMBER).fullmatch("#" + fragment) else f"#{HIDDEN}"
    return shown


def _part(text: str, separators: str) -> str:
    """Return the harmless parameters of a path segment or a query, and `***` for all others."""
    shown = []
    for piece in re.split(f"([{separators}])", text):
        harmless = not piece or piece in separators or piece == HIDDEN or _harmless(piece)
        shown.append(piece if harmless else HIDDEN)
    return "".join(shown)


def _harmless(text: str) -> bool:
    """Return whether `text` consists of common words and short numbers: stream1, ch=2, 640x480."""
    if len(text) > 40 or text.count("=") > 1:
        return False
    parts = re.compile(_WORDS).findall(text)
    longest = 4 if "x" in parts or text.startswith(("fps=", "width=", "height=")) else 3
    return (
        all(
            part.lower() in _HARMLESS
            if part.isalpha()
            else len(part) <= longest
            if part.isdigit()
            else part in "._-="
            for part in parts
        )
        and sum(part.isdigit() for part in parts) <= 3
    )


def _plain(text: str) -> str:
    """Return text between addresses without logins (user:password@) and secret parameters."""
    if "@" in text:
        text = re.compile(_LOGIN).sub(f"{HIDDEN}@", text)
    if "=" in text or "%" in text:
        text = re.compile(_VALUE).sub(rf"\g<1>{HIDDEN}", text)
    return re.compile(_BEARER).sub(rf"\g<1>{HIDDEN}", text)
