"""
Who sends: the client's address, also behind proxies.

A header says it only for a peer that is trusted, and is read from its end: a trusted proxy vouches for what it has added, and for nothing before
that. What is no address ends the chain. Nothing that a request holds can raise here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"

_X_FORWARDED_FOR = b"x-forwarded-for"
_FORWARDED = b"forwarded"
# What is remembered of a header, from its end: as long as a chain of a dozen proxies.
_MAX_HEADER = 512
_MAX_ADDRESS = 45
_SITE_BITS = 64


class Proxies:
    """The proxies that are trusted to say for whom they ask, by their networks. Without any, the peer is the client."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._find = lru_cache(maxsize=1024)(self._find_client)

    def client(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """
        The client's address, as text in its usual form; None when there is no peer.

        Two headers that name different clients are both not believed: a proxy writes one of them, and the sender may have written the other.
        """
        if peer is None:
            return None
        if not self._networks:
            return _plain(peer)
        return self._find(peer, _joined(headers, _X_FORWARDED_FOR), _joined(headers, _FORWARDED))

    def _find_client(self, peer: str, x_forwarded_for: str | None, forwarded: str | None) -> str:
        hop = _read(peer.partition("%")[0])
        if hop is None:
            return peer
        said = []
        if x_forwarded_for is not None:
            said.append(self._follow(hop, _x_forwarded_hops(x_forwarded_for)))
        if forwarded is not None:
            said.append(self._follow(hop, _forwarded_hops(forwarded)))
        return str(said[0] if len(set(said)) == 1 else hop)

    def _follow(self, hop: Address, before: Iterator[Address | None]) -> Address:
        for earlier in before:
            if earlier is None or not self._trusts(hop):
                break
            hop = earlier
        return hop

    def _trusts(self, hop: Address) -> bool:
        return any(hop in network for network in self._networks)


@lru_cache(maxsize=4096)
def site_of(client: str | None) -> str:
    """What counts as one client: an IPv4 address; of IPv6 the /64, which one machine has all to itself as a rule."""
    address = None if client is None else _read(client)
    if address is None:
        return client or UNKNOWN
    return str(address) if address.version == 4 else str(IPv6Network((address, _SITE_BITS), strict=False))


@lru_cache(maxsize=4096)
def _plain(peer: str) -> str:
    address = _read(peer.partition("%")[0])
    return peer if address is None else str(address)


def _joined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    values = [value for field, value in headers if field == name]
    return b",".join(values)[-_MAX_HEADER:].decode("latin-1") if values else None


def _x_forwarded_hops(text: str) -> Iterator[Address | None]:
    """What the header names, the last one first."""
    return (_node(item.strip()) for item in reversed(text.split(",")))


def _forwarded_hops(text: str) -> Iterator[Address | None]:
    """What the header names, the last one first: https://www.rfc-editor.org/rfc/rfc7239#section-4"""
    for element in _split_from_end(text, ","):
        pairs = [pair.strip().partition("=") for pair in _split_from_end(element, ";")]
        nodes = [value for name, _, value in pairs if name.lower() == "for"]
        yield _node(_unquoted(nodes[0])) if len(nodes) == 1 else None


def _split_from_end(text: str, separator: str) -> Sequence[str]:
    """
    The parts, the last one first; a separator in a quoted string separates nothing.

    Read from the end, a quotation mark that a sender has left open can not swallow what a proxy has added behind it.
    """
    parts, end, is_quoted = [], len(text), False
    for position in range(len(text) - 1, -1, -1):
        if text[position] == '"' and not _is_escaped(text, position):
            is_quoted = not is_quoted
        elif text[position] == separator and not is_quoted:
            parts.append(text[position + 1 : end])
            end = position
    return [*parts, text[:end]]


def _is_escaped(text: str, position: int) -> bool:
    before = text[:position]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value


def _node(text: str) -> Address | None:
    """An address, with or without a port: an IPv6 one stands in brackets then."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return _read(host) if ":" in host and (not port or port.startswith(":")) else None
    host, _, port = text.partition(":")
    return _read(text if ":" in port else host)


def _read(text: str) -> Address | None:
    """An IPv4 address that came in IPv6's clothes is one of IPv4: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2"""
    # Behind a percent sign may stand anything, and an address of another machine has none.
    if len(text) > _MAX_ADDRESS or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
