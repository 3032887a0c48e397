"""The R reference: engines that compute in R, in a process of its own.

Importing this package imports neither rpy2 nor torch; the R process imports rpy2 alone.
"""

from pathlib import Path

R_FILES = Path(__file__).parent / "R"
