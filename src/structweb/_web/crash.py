"""The page of a status 500 that nobody made on purpose."""

import html
from traceback import format_exception

_TITLE = "500 Internal Server Error"
_EXCUSE = "Server got itself in trouble"
_PAGE = "<html><head><title>{title}</title></head><body>\n<h1>{title}</h1>\n{excuse}\n{details}</body></html>\n"


def crash_page(exc: BaseException | None, *, accept: str, debug: bool) -> tuple[str, str]:
    """Return the text and the content type of the answer to a request whose handler raised `exc`.

    HTML for a client whose `accept` names it, else plain text.  The traceback is in it only with `debug`.
    """
    trace = "".join(format_exception(exc)) if debug and exc is not None else ""
    if "text/html" in accept:
        details = f"<h2>Traceback:</h2>\n<pre>{html.escape(trace)}</pre>\n" if trace else ""
        return _PAGE.format(title=_TITLE, excuse=_EXCUSE, details=details), "text/html"
    return f"{_TITLE}\n\n{trace or _EXCUSE}", "text/plain"
