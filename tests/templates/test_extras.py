"""The extras of templates: what is said where they are missing."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("module", "package"), [("jinja2", "Jinja2"), ("mako", "Mako")])
def test_a_missing_extra_names_its_command(module, package):
    code = f"import sys; sys.modules[{module!r}] = None; import structweb.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: structweb.{module} needs {package}: pip install 'structweb[{module}]'"
    )
