short_fit <- function(callbacks, ...) {
  vae_fit(noise_images, recipe = "beta", latent_dim = 3, batch_size = 10, epochs = 3, seed = 3,
          device = "cpu", validation = 0.25, callbacks = callbacks, ...)
}

test_that("functions are called after steps and epochs, wherever Python runs", {
  skip_without_python()
  old <- options(pyvae.own_process = FALSE)
  on.exit(options(old))
  for (own_process in c(FALSE, TRUE)) {
    options(pyvae.own_process = own_process)
    steps <- epochs <- list()
    last <- if (own_process) 2L else 3L                             # where FALSE ends it
    fit <- short_fit(list(on_step = function(now) steps[[length(steps) + 1L]] <<- now,
                          on_epoch = function(now) {
                            epochs[[length(epochs) + 1L]] <<- now
                            now$epoch < last || last == 3L
                          }))
    expect_identical(fit$history, utils::head(watched_fit()$history, 3L * last))  # nothing changes
    expect_identical(fit$ended, if (own_process) "callback" else "complete")
    expect_identical(vapply(steps, function(now) now$step, 0L), seq_len(3L * last))
    expect_equal(vapply(steps, function(now) now$loss[["total"]], 0), fit$history$loss,
                 tolerance = 1e-12)
    expect_identical(unique(vapply(steps, function(now) now$steps, 0L)), 9L)
    expect_identical(vapply(epochs, function(now) now$epoch, 0L), seq_len(last))
    by_epoch <- as.data.frame(fit, by = "epoch")
    expect_equal(vapply(epochs, function(now) now$loss[["total"]], 0), by_epoch$loss,
                 tolerance = 1e-12)
    expect_equal(vapply(epochs, function(now) now$validation[["total"]], 0), by_epoch$validation,
                 tolerance = 1e-12)
    expect_null(steps[[1L]]$validation)
  }
})

test_that("FALSE ends the training, and nothing else does", {
  skip_without_python()
  fit <- short_fit(function(now) now$epoch < 2)
  expect_identical(max(fit$history$epoch), 2L)
  expect_identical(fit$ended, "callback")
  expect_false(fit$interrupted)
  expect_output(print(fit), "then ended by a callback")
  expect_identical(short_fit(function(now) NULL)$ended, "complete")
  expect_identical(short_fit(function(now) 0)$ended, "complete")
})

test_that("an error in a function is named, with its reason, and ends the training", {
  skip_without_python()
  old <- options(pyvae.own_process = FALSE)
  on.exit(options(old))
  for (own_process in c(FALSE, TRUE)) {
    options(pyvae.own_process = own_process)
    error <- tryCatch(short_fit(list(on_step = function(now) if (now$step == 2) stop("no disk"))),
                      error = identity)
    expect_s3_class(error, "pyvae_error")
    expect_match(in_one_line(conditionMessage(error)), "on_step.* has failed in step 2")
    expect_equal(conditionMessage(error$parent), "no disk")
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
  expect_error(give_answer(function(report) stop("no"), list(), file), "no")
  expect_false(wait_for_answer(file, Sys.getpid()))
})
