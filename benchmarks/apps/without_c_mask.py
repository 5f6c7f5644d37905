"""structweb's command line, as without the extra ``structweb[speed]``."""

import sys

sys.modules["websockets.speedups"] = None  # an import of it fails

from structweb.cli import main  # noqa: E402 - behind the line above

main()
