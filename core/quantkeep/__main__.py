"""``python -m quantkeep``."""

import sys

from quantkeep.cli import main

if __name__ == "__main__":
    sys.exit(main())
