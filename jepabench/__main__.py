"""``python -m jepabench``."""

import sys

from jepabench.main import main

sys.exit(main())
