"""`python -m pyvae`."""

import sys

from pyvae.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
