"""`python -m tools.demo` (`make demo`)."""

from __future__ import annotations

import sys

from tools.demo.program import main

if __name__ == "__main__":
    sys.exit(main())
