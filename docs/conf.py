"""Sphinx: MyST pages, and autodoc for the reference."""

project = "structweb"
author = "the structweb contributors"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "structweb"
exclude_patterns = ["_build"]
default_role = "code"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
# Types of other packages are named as users import them.
add_module_names = False
suppress_warnings = ["myst.header"]
