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

# Elsewhere: test-own_process.R
test_that("they are called, and an error in one ends the training with its reason", {
  expect_end_by_error(own_process = FALSE)
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
