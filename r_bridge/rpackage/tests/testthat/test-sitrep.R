test_that("it says what is there", {
  skip_without_python()
  said <- cli::ansi_strip(paste(cli::cli_fmt(found <- pyvae_sitrep()), collapse = "\n"))
  expect_true(found$ready)
  expect_null(found$problem)
  expect_true(pyvae_available())
  said <- in_one_line(said)
  expect_match(said, in_one_line(found$python), fixed = TRUE)
  expect_match(said, paste0("Python ", found$version), fixed = TRUE)
  expect_match(said, "Ready")
})

test_that("it says what is missing and what to do, without Python", {
  said <- no_python()$report
  expect_match(said, "Python was not found")
  expect_match(said, "install_pyvae")
  expect_false(grepl("Ready", said))
})

test_that("it says where R's library path makes a Python another one", {
  skip_without_python()
  pretend <- function(condition) make_python(c(
    "import os, sys, collections",
    paste0("if ", condition, ":"),
    "    sys.version_info = collections.namedtuple('v', 'major minor micro releaselevel serial')(",
    "        3, 99, 7, 'final', 0)"))
  found <- in_session(function(pythons) lapply(pythons, function(python) {
    Sys.setenv(RETICULATE_PYTHON = python)
    cli::ansi_strip(paste(cli::cli_fmt(pyvae::pyvae_sitrep()), collapse = " "))
  }), list(list(pretend("os.environ.get('LD_LIBRARY_PATH') == '/nowhere'"), pretend("True"))),
  environment = c(LD_LIBRARY_PATH = paste0(R.home("lib"), ":/nowhere")))
  expect_match(in_one_line(found[[1L]]), "Outside of R this is Python 3.99.7")
  expect_false(grepl("Outside of R", found[[2L]]))
})
