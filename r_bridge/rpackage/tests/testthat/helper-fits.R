# What several tests share: fits are small, and made once.

# The Python of these tests, asked once: each question starts it.
tests_python <- function() {
  if (is.null(made$python)) made$python <- find_python()
  made$python
}

skip_without_python <- function() {
  problem <- tests_python()$problem
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

# A fit with a share of its images held out, of the fastest recipe.
watched_fit <- function() {
  skip_without_python()
  if (is.null(made$watched)) {
    made$watched <- vae_fit(noise_images, recipe = "beta", epochs = 3, batch_size = 10, seed = 3,
                            device = "cpu", latent_dim = 3, validation = 0.25)
  }
  made$watched
}

# A short fit with callbacks.
short_fit <- function(callbacks, ...) {
  vae_fit(noise_images, recipe = "beta", latent_dim = 3, batch_size = 10, epochs = 3, seed = 3,
          device = "cpu", validation = 0.25, callbacks = callbacks, ...)
}

# Callbacks that note what they are told, and the notes.
notes <- function() {
  here <- environment()
  here$steps <- here$epochs <- list()
  here$callbacks <- list(
    on_step = function(now) here$steps[[length(here$steps) + 1L]] <- now,
    on_epoch = function(now) here$epochs[[length(here$epochs) + 1L]] <- now)
  here
}

# What was told is what the fit without callbacks has.
expect_told <- function(told, steps, epochs) {
  fit <- watched_fit()
  testthat::expect_identical(vapply(told$steps, function(now) now$step, 0L), seq_len(steps))
  testthat::expect_equal(vapply(told$steps, function(now) now$loss[["total"]], 0), fit$history$loss[1:steps],
               tolerance = 1e-12)
  testthat::expect_identical(unique(vapply(told$steps, function(now) now$steps, 0L)), 9L)
  testthat::expect_identical(vapply(told$epochs, function(now) now$epoch, 0L), seq_len(epochs))
  by_epoch <- utils::head(as.data.frame(fit, by = "epoch"), epochs)
  testthat::expect_equal(vapply(told$epochs, function(now) now$loss[["total"]], 0), by_epoch$loss,
               tolerance = 1e-12)
  testthat::expect_equal(vapply(told$epochs, function(now) now$validation[["total"]], 0),
               by_epoch$validation, tolerance = 1e-12)
  testthat::expect_null(told$steps[[1L]]$validation)
}

# The same in this process and in one of its own.
expect_end_by_error <- function(own_process) {
  skip_without_python()
  old <- options(pyvae.own_process = own_process)
  on.exit(options(old))
  told <- notes()
  note <- told$callbacks$on_step
  told$callbacks$on_step <- function(now) {
    note(now)
    if (now$step == 7) stop("no disk")
  }
  error <- tryCatch(short_fit(told$callbacks), error = identity)
  testthat::expect_s3_class(error, "pyvae_error")
  testthat::expect_match(in_one_line(conditionMessage(error)), "on_step.* has failed in step 7")
  testthat::expect_equal(conditionMessage(error$parent), "no disk")
  expect_told(told, 7, 2)
}

# A fit without what differs from run to run.
without_clock <- function(fit) {
  fit$seconds <- fit$call <- NULL
  fit
}

# The command `pyvae`, without R's own libraries.
run_pyvae <- function(...) {
  processx::run(tests_python()$python, c("-m", "pyvae", ...),
                env = c("current", user_library_paths()))
}

# The folder of a trace that Python wrote, with draws.
python_trace <- function() {
  skip_without_python()
  if (is.null(made$trace)) {
    images <- tempfile(fileext = ".npz")
    save_images(images, read_images(noise_images), NULL)
    folder <- tempfile()
    run_pyvae("trace", "--data", images, "--steps", "2", "--objective", "vae", "--batch-size", "2",
              "--latent-dim", "3", "--draws", "--out", folder)
    made$trace <- folder
  }
  made$trace
}

# A comparison as `pyvae compare` leaves it, in which the two sides part.
read_comparison_example <- function() {
  folder <- tempfile()
  dir.create(folder)
  writeLines('{"verdict": "disagree", "engine": "base-r", "data": "digits", "settings":
    {"batch_size": 5, "dtype": "float64", "seed": 2}, "environment": {}, "objectives": {"vae": {
    "verdict": "disagree", "loss": {"max_abs": 1, "max_rel": 0.5, "max_ulp": 9e15,
    "required_rtol": 0.5, "rtol": 1e-12, "scale": "element"}, "parameter": {"max_abs": null,
    "max_rel": null, "max_ulp": null, "required_rtol": null, "rtol": 1e-8, "scale": "tensor",
    "problem": "NaN"}, "first_divergence": {"step": 1, "pass": "forward", "stage":
    "encoder.relu1", "looks_like": ["base-r: ReLU missing"]}}}}',
    file.path(folder, "comparison.json"))
  steps <- rep(1:6, 2)
  writeLines(c("engine,objective,epoch,step,total,nats_per_image",
               sprintf("%s,vae,1,%d,%.1f,%.2f", rep(c("pytorch", "base-r"), each = 6), steps,
                       20 / steps, 4 / steps)), file.path(folder, "history.csv"))
  read_comparison(folder)
}

# The error of an expression, which has to be one of ours, in one message: that of conditionMessage(),
# for which cli takes twice the time of all else. Nor is it made where the error is signalled, and no
# traceback is kept.
refusal <- function(expression) {
  made$plain <- TRUE
  old <- options(`rlang:::disable_trace_capture` = TRUE)
  on.exit({
    made$plain <- FALSE
    options(old)
  })
  error <- tryCatch({
    expression
    NULL
  }, error = identity)
  testthat::expect_s3_class(error, "pyvae_error")
  in_one_line(paste(c(error$message, paste(names(error$body), error$body)), collapse = " "))
}

registerS3method("conditionMessage", "pyvae_error", function(c) {
  if (isTRUE(made$plain)) c$message else NextMethod()
})

# The message of an error that is R's own. No traceback is kept of it either: to take one is most of
# the time of expect_error().
complaint <- function(expression) {
  error <- tryCatch({
    expression
    NULL
  }, error = identity)
  testthat::expect_s3_class(error, "error")
  conditionMessage(error)
}

in_one_line <- function(text) gsub("[[:space:]]+", " ", cli::ansi_strip(text))

# Evaluates code while a function of the package is another one.
with_stand_in <- function(name, stand_in, code) {
  ours <- asNamespace("pyvae")
  before <- ours[[name]]
  set <- function(value) {
    unlockBinding(name, ours)
    assign(name, value, ours)
    lockBinding(name, ours)
  }
  set(stand_in)
  on.exit(set(before))
  force(code)
}

# Presses Ctrl-C, once, when a fit in this session has shown step `at`.
with_ctrl_c <- function(at, fit) {
  progress <- training_progress
  pressed <- FALSE
  with_stand_in("training_progress", function(verbose) {
    show <- progress(verbose)
    function(report) {
      show(report)
      if (pressed || report$event != "step" || report$step < at) return()
      pressed <<- TRUE
      tools::pskill(Sys.getpid(), tools::SIGINT)
      Sys.sleep(60)                                                # which Ctrl-C ends
    }
  }, fit)
}

# A function in an R session of its own, with other environment variables: forked, where R can, from
# one that has loaded this package and reticulate, which takes seconds, and no Python.
in_session <- function(f, arguments = list(), environment = character(), library = character()) {
  if (.Platform$OS.type == "windows") return(in_new_session(f, arguments, environment, library))
  if (is.null(made$session)) {
    # its temporary files go with this session's, however it ends
    made$session <- callr::r_session$new(callr::r_session_options(
      user_profile = FALSE, env = c(callr::rcmd_safe_env(), TMPDIR = tempdir())))
    made$session$run(function() {
      loadNamespace("reticulate")
      loadNamespace("pyvae")
      loadNamespace("parallel")
      NULL
    })
  }
  environment(f) <- globalenv()
  made$session$run(function(f, arguments, environment, library) {
    job <- parallel::mcparallel({
      if (length(environment)) do.call(Sys.setenv, as.list(environment))
      .libPaths(c(library, .libPaths()))
      do.call(f, arguments)
    })
    found <- parallel::mccollect(job)[[1L]]
    if (inherits(found, "try-error")) stop(attr(found, "condition"))
    found
  }, list(f, arguments, environment, library))
}

in_new_session <- function(f, arguments, environment = character(), library = character()) {
  callr::r(f, arguments, libpath = c(library, .libPaths()), user_profile = FALSE,
           env = c(callr::rcmd_safe_env(), environment))
}

without_python <- c(RETICULATE_PYTHON = file.path(tempdir(), "no-python"))

# A folder with a Python of its own, as `python -m venv` makes it, without any package; a file in it
# that is run at every start may change what it says of itself.
make_python <- function(at_start = NULL) {
  skip_without_python()
  folder <- tempfile("venv")
  made <- processx::run(tests_python()$python, c("-m", "venv", "--without-pip", folder),
                        error_on_status = FALSE)
  skip_if(made$status != 0L, "needs Python's venv")
  if (!is.null(at_start)) {
    site <- Sys.glob(file.path(folder, "lib", "python*", "site-packages"))
    writeLines(at_start, file.path(site, "sitecustomize.py"))
  }
  file.path(folder, "bin", "python")
}

# What one R session, bound to no Python, says of each of these: the class and the message of the
# error of vae_fit(), and the report of pyvae_sitrep(); and of a fit one, whether it is `available`.
# `bound`: whether the session is bound to one then.
ask_pythons <- function(pythons, fit = NULL) {
  in_session(function(pythons, fit) {
    library(pyvae)
    plain <- function(text) gsub("[[:space:]]+", " ", cli::ansi_strip(paste(text, collapse = " ")))
    asked <- lapply(pythons, function(python) {
      Sys.setenv(RETICULATE_PYTHON = python)
      error <- tryCatch(vae_fit(array(1, c(2, 28, 28)), batch_size = 2, epochs = 1),
                        error = identity)
      list(python = python, class = class(error)[[1L]], message = plain(conditionMessage(error)),
           report = plain(cli::cli_fmt(pyvae_sitrep())))
    })
    if (!is.null(fit)) {
      Sys.setenv(RETICULATE_PYTHON = fit)
      asked$available <- pyvae_available()
    }
    c(asked, bound = reticulate::py_available())
  }, list(pythons, fit))
}

# What is said where there is no Python.
no_python <- function() {
  if (is.null(made$none)) made$none <- ask_pythons(list(none = without_python[[1L]]))
  made$none$none
}

# What is said of Pythons that will not do.
unfit_pythons <- function() {
  if (!is.null(made$unfit)) return(made$unfit)
  pythons <- list(bare = make_python(), old = make_python(c(
    "import sys, collections",
    "sys.version = '3.8.10 (default)'",
    "sys.version_info = collections.namedtuple('v', 'major minor micro releaselevel serial')(",
    "    3, 8, 10, 'final', 0)")))
  pythons$outdated <- make_python()
  put_modules(pythons$outdated, c("pyvae", "r_bridge"))
  pythons$foreign <- make_python()
  about <- file.path(put_modules(pythons$foreign, "pyvae"), "pyvae-1.1.0.dist-info")
  dir.create(about)
  writeLines(c("Metadata-Version: 2.1", "Name: pyvae", "Version: 1.1.0",
               "Summary: Interpretable autoencoders"), file.path(about, "METADATA"))
  pythons$failing <- tempfile("python")
  writeLines(c("#!/bin/sh", "exit 1"), pythons$failing)
  Sys.chmod(pythons$failing, "755")
  made$unfit <- ask_pythons(pythons, tests_python()$python)
  made$unfit
}

# Modules that do nothing, in the site-packages of a Python.
put_modules <- function(python, names) {
  site <- Sys.glob(file.path(dirname(dirname(python)), "lib", "python*", "site-packages"))
  for (name in names) {
    dir.create(file.path(site, name))
    file.create(file.path(site, name, "__init__.py"))
  }
  site
}
