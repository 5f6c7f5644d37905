import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._web.patterns import parse_template
from structweb._wire.urlpath import decode_path


def matched(template, raw_path):
    return parse_template(template).match(decode_path(raw_path))


@pytest.mark.parametrize(
    ("template", "raw_path", "values"),
    [
        ("/a/{name}/c", "/a/b/c", {"name": "b"}),
        ("/a/{name}/c", "/a/1/c", {"name": "1"}),
        ("/a/{name}/c", "/a/etc/c", {"name": "etc"}),
        ("/a/{name}/c", "/a//c", None),
        ("/a/{name}/c", "/a/b/d/c", None),
        ("/a/{name}", "/a/{b}", None),
        ("/a/{name}", "/a/%7Bb%7D", None),
        ("/{a}-{b}.{ext}", "/x-y.tar.gz", {"a": "x", "b": "y.tar", "ext": "gz"}),
        (r"/{id:\d+}", "/42", {"id": "42"}),
        (r"/{id:\d+}", "/forty-two", None),
        (r"/{id:\d{2,3}}", "/42", {"id": "42"}),
        (r"/{id:\d{2,3}}", "/4", None),
        (r"/{id:(?:a{2}b){1,2}}/x", "/aabaab/x", {"id": "aabaab"}),
        (r"/{word:[^\W\d]+}", "/%D1%81%D0%BB", {"word": "сл"}),
        (r"/{tail:.*}", "/", {"tail": ""}),
        (r"/{tail:.*}", "/a/b", {"tail": "a/b"}),
        (r"/{x:(?P<y>a)?b}", "/ab", {"x": "ab", "y": "a"}),
        (r"/{x:(?P<y>a)?b}", "/b", {"x": "b"}),
        (r"/{x}/{y:(?P=x)}", "/a/a", {"x": "a", "y": "a"}),
        (r"/{x}/{y:(?P=x)}", "/a/b", None),
        ("/{x: +}", "/%20%20", {"x": "  "}),
        ("/{a}", "/%20", {"a": " "}),
        ("/{a}", "/b%2Fc", {"a": "b/c"}),
        ("/{a}", "/%252F", {"a": "%2F"}),
        ("/{a}", "/b+c", {"a": "b+c"}),
        ("/{a}", "/%zz", {"a": "%zz"}),
        ("/путь/{x}", "/%D0%BF%D1%83%D1%82%D1%8C/1", {"x": "1"}),
        ("/a b/{x}", "/a%20b/1", {"x": "1"}),
        ("/%41/{x}", "/A/1", {"x": "1"}),
        ("/a%2Fb/{x}", "/a%2fb/1", {"x": "1"}),
        ("/a%2Fb/{x}", "/a/b/1", None),
        ("/100%/{x}", "/100%25/1", {"x": "1"}),
        ("/a.b/{x}", "/aXb/1", None),
    ],
)
def test_a_template_matches_the_decoded_path(template, raw_path, values):
    assert matched(template, raw_path) == values


@pytest.mark.parametrize("path", ["/{a", "/a}", "/{a}}", "/{1a}", "/{a-b}", "/{}", "/{a:}", "/{a:{}", "/{ a}", "/{é}"])
def test_bad_braces_and_names_are_refused(path):
    with pytest.raises(ValueError, match="Invalid path"):
        parse_template(path)


def test_a_lone_brace_is_pointed_at():
    with pytest.raises(ValueError, match="got a lone '{' at position 5"):
        parse_template("/{a}/{")


@pytest.mark.parametrize("path", ["/{a:[}", "/{a:(}", "/{a}/{a}", "/{a:*}", "/{b:(?P=a)}"])
def test_bad_expressions_are_refused(path):
    with pytest.raises(ValueError, match="Bad pattern"):
        parse_template(path)


@pytest.mark.parametrize("path", ["{a}", "a{b}", ""])
def test_a_template_starts_with_a_slash(path):
    with pytest.raises(ValueError, match="must start with '/'"):
        parse_template(path)


def test_the_formatter_leaves_expressions_out():
    assert parse_template(r"/путь/{year:\d{4}}/{slug}").formatter == "/%D0%BF%D1%83%D1%82%D1%8C/{year}/{slug}"


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"x": "a", "y": "b"}, "/d%20e/a/b"),
        ({"x": "a b", "y": "ü?#"}, "/d%20e/a%20b/%C3%BC%3F%23"),
        ({"x": "a/b", "y": "%2F+"}, "/d%20e/a/b/%252F+"),
        ({"x": "a", "y": "b", "z": "ignored"}, "/d%20e/a/b"),
    ],
)
def test_filling_quotes_the_parts_but_keeps_slashes(values, path):
    assert parse_template("/d e/{x}/{y}").fill(values) == path


def test_filling_needs_every_part():
    with pytest.raises(KeyError, match="'y'"):
        parse_template("/{x}/{y}").fill({"x": "a"})


@pytest.mark.parametrize("value", [1, None, b"a", 1.5])
def test_filling_needs_text(value):
    with pytest.raises(TypeError, match="needs a str for 'x'"):
        parse_template("/{x}").fill({"x": value})


def test_a_prefix_is_a_literal():
    template = parse_template(r"/{x:\d+}").with_prefix("/a.b/с п")
    assert template.formatter == "/a.b/%D1%81%20%D0%BF/{x}"
    assert template.match(decode_path("/a.b/%D1%81%20%D0%BF/1")) == {"x": "1"}
    assert template.match("/aXb/с п/1") is None
    assert template.fill({"x": "1"}) == "/a.b/%D1%81%20%D0%BF/1"


TEXT = st.text(alphabet=st.characters(exclude_characters="/{}", exclude_categories=["Cs"]), min_size=1)


@given(TEXT, TEXT)
def test_a_filled_template_matches_with_the_same_values(x, y):
    template = parse_template("/с п/{x}/and/{y}")
    assert template.match(decode_path(template.fill({"x": x, "y": y}))) == {"x": x, "y": y}
