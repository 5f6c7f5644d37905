"""The application as a value: state, freezing, parts, hints (W-001..W-007, W-041)."""

import logging
import subprocess
import sys

import pytest

from structweb._web.app import Application
from structweb._web.keys import AppKey, NotAppKeyWarning, RequestKey
from structweb._web.response import Response
from structweb._web.signal import FrozenList

pytestmark = pytest.mark.anyio

KEY = AppKey("key", int)


async def hello(request):
    return Response(text="hello")


async def nothing(*args):
    pass


# -- construction --------------------------------------------------------------------------------------------------


def test_defaults():
    app = Application()
    assert app.logger is logging.getLogger("structweb.web")
    assert app.client_max_size == 1024**2
    assert app.client_max_fields == 1000
    assert app.handler_args == {}
    assert app.disconnect is None
    assert list(app.middlewares) == []
    assert app.subapps == ()


def test_arguments_are_keywords_only():
    with pytest.raises(TypeError):
        Application(logging.getLogger())  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "hint"), [("loop", "backend="), ("debug", "debug=True to run_app"), ("router", "app.router")]
)
def test_arguments_of_the_past_name_their_replacement(name, hint):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}': .*{hint}"):
        Application(**{name: None})


def test_an_unknown_argument_is_an_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'middleware'$"):
        Application(middleware=[])  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, None])
def test_no_limit_of_the_body(size):
    assert Application(client_max_size=size).client_max_size == 0


def test_disconnect_is_one_of_two_words():
    assert Application(disconnect="finish").disconnect == "finish"
    with pytest.raises(ValueError, match="'cancel', 'finish' or None, got 'abort'"):
        Application(disconnect="abort")  # type: ignore[arg-type]


def test_handler_args_are_kept_for_the_runner():
    given = {"keepalive_timeout": 10}
    app = Application(handler_args=given)
    given.clear()
    assert app.handler_args == {"keepalive_timeout": 10}


# -- state ---------------------------------------------------------------------------------------------------------


def test_an_application_is_a_mapping():
    app = Application()
    app[KEY] = 1
    with pytest.warns(NotAppKeyWarning, match="use a web.AppKey as key.* got 'text'"):
        app["text"] = 2
    assert app[KEY] == 1
    assert len(app) == 2
    assert list(app) == [KEY, "text"]
    assert KEY in app
    assert app.get(KEY) == 1
    assert app.get("absent") is None
    assert app.get("absent", 5) == 5
    del app[KEY]
    assert KEY not in app
    assert app.setdefault("text", 3) == 2
    assert app.pop("text") == 2
    with pytest.raises(KeyError):
        app[KEY]


@pytest.mark.parametrize("key", ["text", RequestKey("text", int)])
def test_a_key_of_another_kind_warns_each_time(key):
    app = Application()
    for number in range(2):
        with pytest.warns(NotAppKeyWarning, match="use a web.AppKey as key"):
            app[key] = number
    assert app[key] == app.get(key) == 1


def test_an_application_is_equal_to_itself_only_and_true():
    one, other = Application(), Application()
    assert one == one  # noqa: PLR0124 - that is what is tested
    assert one != other
    assert one
    assert hash(one) == id(one)
    assert len({one, other}) == 2


def test_changing_the_state_of_a_frozen_application_warns():
    app = Application()
    app[KEY] = 1
    app.freeze()
    with pytest.warns(DeprecationWarning, match="running application"):
        app[KEY] = 2
    with pytest.warns(DeprecationWarning, match="running application"):
        del app[KEY]


# -- freezing ------------------------------------------------------------------------------------------------------


def test_pre_freeze_fixes_everything_but_the_state():
    app = Application()
    app.pre_freeze()
    app.pre_freeze()
    assert app.pre_frozen
    assert not app.frozen
    app[KEY] = 1
    for fixed in (
        app.middlewares,
        app.on_startup,
        app.on_shutdown,
        app.on_cleanup,
        app.on_response_prepare,
        app.cleanup_ctx,
    ):
        with pytest.raises(RuntimeError, match="Cannot modify frozen list"):
            fixed.append(nothing)
    with pytest.raises(RuntimeError):
        app.router.add_get("/", hello)


def test_freeze_goes_down_to_sub_applications():
    app, sub, subsub = Application(), Application(), Application()
    sub.add_subapp("/subsub", subsub)
    app.add_subapp("/sub", sub)
    assert subsub.pre_frozen
    assert sub.pre_frozen
    assert not sub.frozen
    app.freeze()
    app.freeze()
    assert app.frozen
    assert subsub.frozen


# -- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["router", "middlewares", "on_startup", "on_shutdown", "on_cleanup", "on_response_prepare", "cleanup_ctx"],
)
def test_parts_cannot_be_replaced(name):
    app = Application()
    assert getattr(app, name) is getattr(app, name)
    with pytest.raises(AttributeError):
        setattr(app, name, [])


def test_the_logger_can_be_replaced():
    app = Application(logger=logging.getLogger("mine"))
    assert app.logger.name == "mine"
    app.logger = logging.getLogger("other")
    assert app.logger.name == "other"


def test_middlewares_are_a_list():
    app = Application(middlewares=[nothing])
    assert isinstance(app.middlewares, FrozenList)
    app.middlewares.append(hello)
    assert list(app.middlewares) == [nothing, hello]


def test_calling_an_application_returns_it():
    app = Application()
    assert app() is app
    assert repr(app) == f"<Application 0x{id(app):x}>"


@pytest.mark.parametrize(
    ("name", "hint"), [("loop", "start_soon"), ("debug", "debug=True"), ("make_handler", "AppRunner")]
)
def test_attributes_of_the_past_name_their_replacement(name, hint):
    with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{hint}"):
        getattr(Application(), name)
    assert not hasattr(Application(), "anything_else")


def test_subclassing_warns():
    with pytest.warns(DeprecationWarning, match="class Mine"):
        type("Mine", (Application,), {})


def test_own_attributes_warn_in_development_mode():
    code = "from structweb._web.app import Application; app = Application(); app.logger = app.logger; app.mine = 1"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert "DeprecationWarning: web.Application has no attribute 'mine'" in done.stderr


# -- sub-applications ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "error"), [(1, TypeError), ("", ValueError), ("/", ValueError), ("//", ValueError)])
def test_a_bad_prefix(prefix, error):
    with pytest.raises(error, match="prefix must be"):
        Application().add_subapp(prefix, Application())


def test_a_bad_domain():
    with pytest.raises(TypeError, match="domain must be a str"):
        Application().add_domain(1, Application())  # type: ignore[arg-type]


def test_what_cannot_be_a_sub_application():
    app, frozen = Application(), Application()
    frozen.freeze()
    with pytest.raises(TypeError, match="must be an Application, got 'sub'"):
        app.add_subapp("/sub", "sub")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="its own sub-application"):
        app.add_subapp("/sub", app)
    with pytest.raises(RuntimeError, match="cannot add a frozen application"):
        app.add_subapp("/sub", frozen)
    with pytest.raises(RuntimeError, match="to a frozen application"):
        frozen.add_subapp("/sub", app)


def test_add_routes_returns_the_routes():
    from structweb._web.routedef import get, post

    app = Application()
    routes = app.add_routes([get("/a", hello, allow_head=False), post("/b", hello)])
    assert [route.method for route in routes] == ["GET", "POST"]


async def test_shutdown_before_the_start_is_an_error():
    with pytest.raises(RuntimeError, match="Cannot send non-frozen signal"):
        await Application().shutdown()


async def test_cleanup_before_the_start_does_nothing():
    app = Application()
    app.on_cleanup.append(hello)
    await app.cleanup()
