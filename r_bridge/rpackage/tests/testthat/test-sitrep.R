test_that("it says what is there", {
  skip_without_python()
  said <- cli::ansi_strip(paste(cli::cli_fmt(found <- pyvae_sitrep()), collapse = "\n"))
  expect_true(found$ready)
  expect_null(found$problem)
  expect_true(pyvae_available())
  expect_match(said, found$python, fixed = TRUE)
  expect_match(said, paste0("Python ", found$version), fixed = TRUE)
  expect_match(said, "Ready")
})

test_that("it says what is missing and what to do, without Python", {
  said <- in_session(function() {
    cli::ansi_strip(paste(cli::cli_fmt(found <- pyvae::pyvae_sitrep()), collapse = "\n"))
  }, environment = without_python)
  expect_match(said, "Python was not found")
  expect_match(said, "install_pyvae")
  expect_false(grepl("Ready", said))
})
