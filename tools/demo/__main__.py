"""`python -m tools.demo` (`make demo`)."""

import sys

from tools.demo.program import main

sys.exit(main())
