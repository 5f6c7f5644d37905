"""``python -m structweb serve ...`` is ``structweb serve ...``."""

from structweb.cli import main

main(prog="python -m structweb")
