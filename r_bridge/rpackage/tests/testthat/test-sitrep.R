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
  said <- in_session(function() {
    cli::ansi_strip(paste(cli::cli_fmt(found <- pyvae::pyvae_sitrep()), collapse = "\n"))
  }, environment = without_python)
  said <- in_one_line(said)
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
  sitrep <- function(python) in_one_line(in_session(function() {
    cli::ansi_strip(paste(cli::cli_fmt(pyvae::pyvae_sitrep()), collapse = " "))
  }, environment = c(RETICULATE_PYTHON = python, LD_LIBRARY_PATH = "/nowhere")))
  expect_match(sitrep(pretend("os.environ.get('LD_LIBRARY_PATH') == ''")),
               "Outside of R this is Python 3.99.7: R's .?LD_LIBRARY_PATH")
  expect_false(grepl("Outside of R", sitrep(pretend("True"))))
})
