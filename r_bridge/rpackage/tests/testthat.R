library(testthat)
library(pyvae)

test_check("pyvae")
