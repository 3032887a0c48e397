# What several tests share: fits are small, and made once.

skip_without_python <- function() {
  problem <- find_python()$problem
  testthat::skip_if(!is.null(problem), paste("needs Python with pyvae:", problem[[1L]]))
}

set.seed(7)
noise_images <- array(sample(0:255, 40 * 784, TRUE), c(40, 28, 28))

made <- new.env()

small_fit <- function(objective = "vae") {
  skip_without_python()
  if (is.null(made[[objective]])) {
    made[[objective]] <- vae_fit(noise_images, objective, latent_dim = 4, epochs = 2,
                                 batch_size = 20, seed = 3, device = "cpu")
  }
  made[[objective]]
}

# The error of an expression, which has to be one of ours, in one message.
refusal <- function(expression) {
  error <- tryCatch({
    expression
    NULL
  }, error = identity)
  testthat::expect_s3_class(error, "pyvae_error")
  in_one_line(conditionMessage(error))
}

in_one_line <- function(text) gsub("[[:space:]]+", " ", cli::ansi_strip(text))

# A function in a fresh R session, with other environment variables.
in_session <- function(f, arguments = list(), environment = character(), library = character()) {
  callr::r(f, arguments, libpath = c(library, .libPaths()), user_profile = FALSE,
           env = c(callr::rcmd_safe_env(), environment))
}

without_python <- c(RETICULATE_PYTHON = file.path(tempdir(), "no-python"))
