"""
One key per repository, `host[/prefix]/owner/name` in lower case, whichever of its URLs is given.

Keys are for matching only: what clones or calls an API uses the configured URL. Rules and their order: the URL forms that git
accepts (https://git-scm.com/docs/git-clone#_git_urls), without local paths and remote helpers.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from shared.event import Repository

MAX_URL = 2_000

_SCHEMES = frozenset({"http", "https", "ssh", "git", "git+ssh", "ssh+git", "git+https", "git+http"})
_WEB_PORTS = frozenset({"", "80", "443"})
_WEB_SCHEMES = frozenset({"http", "https", "git+https", "git+http"})
_SAME_HOST = {
    "www.github.com": "github.com",
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": "dev.azure.com",
    "vs-ssh.visualstudio.com": "dev.azure.com",
}
# These forges are not Bitbucket Data Center, and a group of theirs may be called "scm" or "projects".
_PLAIN_HOSTS = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "git.sr.ht"})

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\?#]")
_FORBIDDEN_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>\[[^\]]+\]|[^@/:\[\]]{2,}):(?P<path>[^:].*)")
_AUTHORITY = re.compile(r"(?:(?P<name>[^:%@\[\]]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]*))?")
_CODECOMMIT = re.compile(r"git-codecommit\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")


class InvalidRepositoryUrl(ValueError):
    """The text is not the URL of a remote repository; the text itself is left out, it may hold credentials."""


@lru_cache(maxsize=1024)
def repository_key(url: str, *, keep_port: bool = False) -> str:
    """
    The key of the repository at `url`; raises `InvalidRepositoryUrl`.

    `keep_port` keeps an http(s) port that is not the usual one, for two forges on one host.
    """
    scheme, authority, path = _split(_checked(url))
    host, port = _host_and_port(authority)
    host, segments = _by_forge(_SAME_HOST.get(host, host), _segments(path))
    if keep_port and scheme in _WEB_SCHEMES and port not in _WEB_PORTS:
        host = f"{host}:{port}"
    return "/".join((host, *segments))


def key_of(git_provider: str, repo: str) -> str:
    """
    The key of what Komodo stores as two fields, host and `owner/name`; raises `InvalidRepositoryUrl`.

    Either may be padded or hold spaces, as an Azure project's name does.
    """
    provider = git_provider.strip()
    prefix = "" if "://" in provider else "https://"
    return repository_key(f"{prefix}{provider}/{repo.strip().replace(' ', '%20')}")


@lru_cache(maxsize=16_384)
def key_or_none(git_provider: str, repo: str) -> str | None:
    """The key of Komodo's two fields, or None where they name no remote repository."""
    try:
        return key_of(git_provider, repo) if repo else None
    except InvalidRepositoryUrl:
        return None


def keys_of(repository: Repository | None) -> frozenset[str]:
    """Every key that the event's repository has: its https and ssh URLs may be on different hosts."""
    if repository is None:
        return frozenset()
    keys = {repository.key} if repository.key else set()
    for url in repository.urls:
        with suppress(InvalidRepositoryUrl):
            keys.add(repository_key(url))
    return frozenset(keys)


def names_of(repository: Repository | None) -> tuple[str, ...]:
    """What a pattern may call the repository: `host/owner/name` and `owner/name`, in lower case."""
    if repository is None:
        return ()
    return (*sorted(keys_of(repository)), repository.full_name.lower())


def without_credentials(url: str) -> str:
    """The URL without password or token; the user name stays where it is part of an ssh address."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user_info, at, host = authority.rpartition("@")
    if not separator or not at:
        return url
    user = "" if scheme.lower() in _WEB_SCHEMES else user_info.partition(":")[0] + at
    return f"{scheme}://{user}{host}{slash}{path}"


def _checked(url: str) -> str:
    url = url.strip()
    if not url or len(url) > MAX_URL:
        raise InvalidRepositoryUrl("a repository URL has 1 to 2000 characters")
    if url.startswith("-") or _FORBIDDEN.search(url):
        raise InvalidRepositoryUrl("a repository URL has no blanks, backslashes, query, fragment or leading dash")
    return url


def _split(url: str) -> tuple[str, str, str]:
    scheme, separator, rest = url.partition("://")
    if separator:
        if scheme.lower() not in _SCHEMES:
            raise InvalidRepositoryUrl("the scheme is not one that reaches a remote repository")
        authority, _, path = rest.partition("/")
        return scheme.lower(), authority.rpartition("@")[2], path
    scp = _SCP.fullmatch(url)
    if scp is None:
        raise InvalidRepositoryUrl("the text is neither a URL nor host:path")
    return "ssh", scp["host"], scp["path"]


def _host_and_port(authority: str) -> tuple[str, str]:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise InvalidRepositoryUrl("the URL names no valid host")
    host = (parts["name"] or parts["address"]).lower().rstrip(".")
    if not host or host.startswith("-"):
        raise InvalidRepositoryUrl("the URL names no valid host")
    return host, parts["port"] or ""


def _segments(path: str) -> tuple[str, ...]:
    try:
        decoded = unquote_to_bytes(path).decode().lower() if "%" in path else path.lower()
    except UnicodeDecodeError:
        raise InvalidRepositoryUrl("the path is not UTF-8") from None
    segments = [segment for segment in decoded.split("/") if segment]
    if segments:
        segments[-1] = segments[-1].removesuffix(".git")
    if not segments or _FORBIDDEN_IN_PATH.search(decoded) or any(segment in ("", ".", "..") for segment in segments):
        raise InvalidRepositoryUrl("the path names no repository")
    return tuple(segments)


def _by_forge(host: str, segments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Undo what some forges put into their paths; everything else stays as it is, GitLab's subgroups and sub-paths included."""
    if host == "dev.azure.com":
        return host, _azure(segments)
    if host.endswith(".visualstudio.com"):
        organization = host.removesuffix(".visualstudio.com")
        rest = segments[1:] if segments[0] == "defaultcollection" else segments
        return "dev.azure.com", _azure((organization, *rest))
    if _CODECOMMIT.fullmatch(host) and segments[:2] == ("v1", "repos") and len(segments) > 2:
        return host, segments[2:]
    return host, segments if host in _PLAIN_HOSTS else _bitbucket(segments)


def _azure(segments: tuple[str, ...]) -> tuple[str, ...]:
    match segments:
        case ("v3", organization, project, name) | (organization, project, "_git", name):
            return organization, project, name
        case (organization, "_git", name):
            return organization, name, name
    return segments


def _bitbucket(segments: tuple[str, ...]) -> tuple[str, ...]:
    match segments:
        case ("scm", project, name) | ("projects", project, "repos", name, *_):
            return project, name
        case ("users", user, "repos", name, *_):
            return f"~{user}", name
    return segments
