# R CMD check runs the examples in a session of their own, which takes seconds to load PyTorch. Where
# they are left out there, they run here, with what a user has: what the package exports.
if (nzchar(Sys.getenv("PYVAE_TEST_EXAMPLES"))) test_that("the examples of the help pages run", {
  skip_without_python()
  pages <- tools::Rd_db("pyvae")
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  ran <- Filter(function(page) {
    code <- tempfile(fileext = ".R")
    tools::Rd2ex(pages[[page]], code, commentDonttest = TRUE)
    if (!file.exists(code)) return(FALSE)
    utils::capture.output(cli::cli_fmt(suppressMessages(
      expect_error(source(code, local = new.env(parent = globalenv()), echo = TRUE), NA,
                   info = page))))
    TRUE
  }, names(pages))
  expect_gt(length(ran), 12)
})
