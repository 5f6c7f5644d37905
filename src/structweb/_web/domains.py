"""Rules that pick a sub-application by something other than the path: its domain."""

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from yarl import URL

from structweb._web.routes import Info

if TYPE_CHECKING:
    from structweb._web.request import Request


class AbstractRuleMatching(ABC):
    """Decides whether a request belongs to a sub-application."""

    @abstractmethod
    async def match(self, request: "Request") -> bool:
        """Whether the request belongs there."""

    @abstractmethod
    def get_info(self) -> Info:
        """Return what is known of the rule, for introspection."""

    @property
    @abstractmethod
    def canonical(self) -> str:
        """The rule as text."""


class Domain(AbstractRuleMatching):
    """Matches the Host field, case-insensitively; its port counts only if the domain is given with one.

    Raises TypeError if the domain is no str, ValueError if it is empty, has a scheme or is no domain name.
    """

    #: What each label must be.
    re_part: ClassVar[re.Pattern[str]] = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")

    def __init__(self, domain: str) -> None:
        self._domain = self.validation(domain)

    @property
    def canonical(self) -> str:
        """The domain in lower case, with its port unless that is 80."""
        return self._domain

    def validation(self, domain: str) -> str:
        """Return the domain in its canonical form.  Raises TypeError and ValueError for what is no domain."""
        if not isinstance(domain, str):
            raise TypeError(f"domain must be str, got {domain!r}")
        name = domain.rstrip(".").lower()
        if not name:
            raise ValueError(f"domain must not be empty, got {domain!r}")
        if "://" in name:
            raise ValueError(f"domain must come without a scheme, got {domain!r}")
        try:
            url = URL("http://" + name)
        except ValueError as exc:
            raise ValueError(f"domain must be a host name, got {domain!r}: {exc}") from exc
        host = url.raw_host or ""
        if not all(self.re_part.fullmatch(label) for label in host.split(".")):
            raise ValueError(f"domain must be labels of letters, digits and inner hyphens, got {domain!r}")
        return host if url.port == 80 else f"{host}:{url.port}"

    async def match(self, request: "Request") -> bool:
        """Whether the Host field names the domain."""
        host = request.headers.get("Host", "")
        return host != "" and self.match_domain(host)

    def match_domain(self, host: str) -> bool:
        """Whether a Host value names the domain."""
        host = host.lower()
        return host == self._domain or host.partition(":")[0] == self._domain

    def get_info(self) -> Info:
        """Return the ``domain``."""
        return {"domain": self._domain}


class MaskDomain(Domain):
    """A domain with ``*`` for any characters: ``*.example.com``."""

    re_part: ClassVar[re.Pattern[str]] = re.compile(r"(?!-)[a-z0-9*-]{1,63}(?<!-)")

    def __init__(self, domain: str) -> None:
        super().__init__(domain)
        host, _, self._port = self._domain.partition(":")
        self._first, *self._others = host.split("*")

    @property
    def canonical(self) -> str:
        """The mask as a regular expression."""
        return self._domain.replace(".", r"\.").replace("*", "[^:]*") + "(:.*)?"

    def match_domain(self, host: str) -> bool:
        """Whether the mask fits a Host value."""
        name, _, port = host.lower().partition(":")
        return (not self._port or port == self._port) and self._fits(name)

    def _fits(self, name: str) -> bool:
        """Take each text between stars where it comes first: a regular expression would try all places for all of them."""
        if not self._others:
            return name == self._first
        if not name.startswith(self._first):
            return False
        at = len(self._first)
        for text in self._others[:-1]:
            found = name.find(text, at)
            if found < 0:
                return False
            at = found + len(text)
        return len(name) - at >= len(self._others[-1]) and name.endswith(self._others[-1])
