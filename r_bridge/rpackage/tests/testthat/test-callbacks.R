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
  expect_identical(vapply(told$steps, function(now) now$step, 0L), seq_len(steps))
  expect_equal(vapply(told$steps, function(now) now$loss[["total"]], 0), fit$history$loss[1:steps],
               tolerance = 1e-12)
  expect_identical(unique(vapply(told$steps, function(now) now$steps, 0L)), 9L)
  expect_identical(vapply(told$epochs, function(now) now$epoch, 0L), seq_len(epochs))
  by_epoch <- utils::head(as.data.frame(fit, by = "epoch"), epochs)
  expect_equal(vapply(told$epochs, function(now) now$loss[["total"]], 0), by_epoch$loss,
               tolerance = 1e-12)
  expect_equal(vapply(told$epochs, function(now) now$validation[["total"]], 0),
               by_epoch$validation, tolerance = 1e-12)
  expect_null(told$steps[[1L]]$validation)
}

test_that("functions are called after steps and epochs, and change nothing", {
  skip_without_python()
  told <- notes()
  fit <- short_fit(told$callbacks)
  expect_identical(fit$history, watched_fit()$history)
  expect_identical(fit$ended, "complete")
  expect_told(told, 9, 3)
})

test_that("FALSE ends the training, wherever, and nothing else does", {
  skip_without_python()
  old <- options(pyvae.own_process = FALSE)
  on.exit(options(old))
  for (own_process in c(TRUE, FALSE)) {
    options(pyvae.own_process = own_process)
    fit <- short_fit(function(now) now$epoch < 2)
    expect_identical(max(fit$history$epoch), 2L)
    expect_identical(fit$ended, "callback")
    expect_false(fit$interrupted)
    expect_output(print(fit), "then ended by a callback")
  }
  expect_identical(short_fit(function(now) NULL)$ended, "complete")
  expect_identical(short_fit(function(now) 0)$ended, "complete")
})

test_that("they are called, and an error in one ends the training with its reason, wherever", {
  skip_without_python()
  old <- options(pyvae.own_process = FALSE)
  on.exit(options(old))
  for (own_process in c(FALSE, TRUE)) {
    options(pyvae.own_process = own_process)
    told <- notes()
    note <- told$callbacks$on_step
    told$callbacks$on_step <- function(now) {
      note(now)
      if (now$step == 7) stop("no disk")
    }
    error <- tryCatch(short_fit(told$callbacks), error = identity)
    expect_s3_class(error, "pyvae_error")
    expect_match(in_one_line(conditionMessage(error)), "on_step.* has failed in step 7")
    expect_equal(conditionMessage(error$parent), "no disk")
    expect_told(told, 7, 2)
  }
})

test_that("what is no function is refused", {
  refused <- function(callbacks) refusal(vae_fit(noise_images, callbacks = callbacks))
  expect_match(refused(3), "callbacks.* must be a function.*It is 3")
  expect_match(refused(list(function(now) NULL)), "callbacks.* must be a function")
  expect_match(refused(list(on_step = 1)), "callbacks.* must be a function")
  expect_match(refused(list(on_epoch_end = print)), "none for .*on_epoch_end")
  expect_match(refused(list()), "a list of 0")
})

test_that("waiting for an answer ends when the process that should give it has ended", {
  file <- tempfile()
  expect_false(wait_for_answer(file, asker = 2^22 + 1))             # above the largest process id
  give_answer(function(report) NULL, list(), file)
  expect_true(wait_for_answer(file, Sys.getpid()))
  expect_false(file.exists(file))
  give_answer(function(report) FALSE, list(), file)
  expect_false(wait_for_answer(file, Sys.getpid()))
  expect_error(give_answer(function(report) stop("no"), list(), file), "no")
  expect_false(wait_for_answer(file, Sys.getpid()))
})
