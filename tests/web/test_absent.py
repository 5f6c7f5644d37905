"""Names of aiohttp that are not here say what to use, in each way of asking for them."""

import importlib

import pytest

import structweb
from structweb import web


@pytest.mark.parametrize(
    ("module", "name", "hint"),
    [
        ("structweb", "ClientSession", "aiohttp works beside it on asyncio, httpx on asyncio and trio"),
        ("structweb", "ClientTimeout", "has no HTTP client"),
        ("structweb", "TraceConfig", "has no HTTP client"),
        ("structweb", "TCPConnector", "has no HTTP client"),
        ("structweb", "ContentTypeError", "structweb.testing has one for tests, and its errors"),
        ("structweb", "BasicAuth", "base64"),
        ("structweb", "GunicornWebWorker", "--reuse-port"),
        ("structweb", "web_exceptions", "structweb.web has the names"),
        ("structweb", "test_utils", "structweb.testing has its names"),
        ("structweb", "abc", "structweb.web AbstractRouter"),
        ("structweb", "multipart", "structweb itself has its names"),
        ("structweb.web", "RequestHandler", "request.transport"),
        ("structweb.web", "MsgType", "WSMsgType"),
        ("structweb", "MsgType", "WSMsgType"),
    ],
)
def test_what_is_not_here_names_what_is(module: str, name: str, hint: str):
    with pytest.raises(ImportError) as imported:
        exec(f"from {module} import {name}")  # noqa: S102 - the statement of a program that moves over
    with pytest.raises(AttributeError) as asked:
        getattr(importlib.import_module(module), name)
    assert str(imported.value) == str(asked.value)
    assert str(asked.value).startswith(f"{module} has no {name}: ")
    assert hint in str(asked.value)


@pytest.mark.parametrize(
    ("module", "name"), [(structweb, "ClientSession"), (structweb, "EofStream"), (web, "RequestHandler")]
)
def test_who_asks_whether_they_are_here_hears_no(module, name: str):
    """As libraries do that work with several versions, and tools that walk through a module."""
    assert not hasattr(module, name)
    assert getattr(module, name, "default") == "default"


@pytest.mark.parametrize("module", [structweb, web])
def test_other_names_are_missing_as_in_any_module(module):
    assert not hasattr(module, "nonsense")
    with pytest.raises(AttributeError, match=f"^module '{module.__name__}' has no attribute 'nonsense'$"):
        module.nonsense  # noqa: B018 - asking is the test
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec(f"from {module.__name__} import nonsense")  # noqa: S102 - the statement of a program
