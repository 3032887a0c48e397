test_that("every bad input has a message of its own, and nothing is left in torch", {
  found <- with_torch({
    said <- function(code) {
      tryCatch({
        suppressMessages(code)
        ""
      }, pyvae_error = function(e) plain_message(e))
    }
    make <- function() nn_linear(3, 2)
    model <- make()
    optimizer <- optim_sgd(model$parameters, lr = 0.1)
    other <- make()
    full <- tempfile()
    dir.create(full)
    writeLines("mine", file.path(full, "notes.txt"))
    list(
      model = said(record(5, optimizer, tempfile())),
      generator = said(record(nn_linear, optimizer, tempfile())),
      unnamed = said(record(list(model, other), optimizer, tempfile())),
      optimizer = said(record(model, "sgd", tempfile())),
      empty = said(record(nn_relu(), optimizer, tempfile())),
      foreign = said(record(other, optimizer, tempfile())),
      full = said(record(model, optimizer, full)),
      kept = list.files(full),
      file = said(record(model, optimizer, file.path(full, "notes.txt"))),
      steps = said(record(model, optimizer, tempfile(), steps = 0)),
      start = said(record(model, optimizer, tempfile(), start = full)),
      names = said(record(model, optimizer, tempfile(), names = full)),
      clean = is.null(getOption("pyvae.recording")) && length(body(torch_relu)) == 2L,
      again = said({
        record(model, optimizer, tempfile())
        record(model, optimizer, tempfile())
      }),
      within = said(record(nn_sequential(model), optimizer, tempfile())),
      stopped = basename(stop_recording()) != "",
      after = said(record(model, optimizer, tempfile())),
      unfinished = tryCatch(record(other, optim_sgd(other$parameters, lr = 1), tempfile()),
                            message = function(m) plain_message(m)))
  })
  expect_match(found$model, "`model` must be a model of the package torch. . It is 5.")
  expect_match(found$generator, "`model` must be a model")
  expect_match(found$unnamed, "The models of `model` must have names")
  expect_match(found$optimizer, "`optimizer` must be an optimizer of the package torch")
  expect_match(found$empty, "`model` has no parameters: there is nothing to train")
  expect_match(found$foreign, "`optimizer` has none of the model's parameters")
  expect_match(found$full, "is not empty. . Name another folder")
  expect_identical(found$kept, "notes.txt")
  expect_match(found$file, "is a file")
  expect_match(found$steps, "`steps` must be a whole number from 1")
  expect_match(found$start, "holds no trace: there is no trace.json in it")
  expect_match(found$names, "must be a CSV file with the columns a and b")
  expect_true(found$clean)
  expect_match(found$again, "`model` is being recorded already, to")
  expect_match(found$within, "is being recorded already")
  expect_true(found$stopped)
  expect_identical(found$after, "")
  expect_match(found$unfinished, "was not finished: it ends here")
})

test_that("a file that cannot be written ends the recording, and the training goes on", {
  skip_on_os("windows")
  skip_if(!file.exists("/dev/full"), "needs /dev/full")
  folder <- tempfile()
  found <- with_torch(arguments = list(folder = folder), {
    model <- nn_linear(3, 2)
    optimizer <- optim_sgd(model$parameters, lr = 0.1)
    suppressMessages(record(model, optimizer, folder))
    dir.create(file.path(folder, "steps"))
    file.symlink("/dev/full", file.path(folder, "steps", "step-000002.safetensors.part"))
    warned <- character()
    withCallingHandlers(for (step in 1:4) {
      optimizer$zero_grad()
      model(torch_randn(5, 3))$sum()$backward()
      optimizer$step()
    }, warning = function(w) {
      warned <<- c(warned, plain_message(w))
      invokeRestart("muffleWarning")
    })
    list(warned = warned, step = step, clean = is.null(getOption("pyvae.recording")))
  })
  expect_length(found$warned, 1L)
  expect_match(found$warned, "ended at step 2: file .* cannot be written.* The training goes on")
  expect_identical(found$step, 4L)
  expect_true(found$clean)
  trace <- read_program(folder)
  expect_false(trace$complete)
  expect_match(trace$ended, "^in step 2: file .* cannot be written")
  expect_length(trace$steps, 1L)
})

test_that("where nothing was recorded, a line says so and nothing is left", {
  folder <- tempfile()
  skip_without_torch()
  script <- tempfile(fileext = ".R")
  writeLines(c("library(torch); library(pyvae)", "model <- nn_linear(2, 1)",
               sprintf("record(model, optim_sgd(model$parameters, lr = 1), '%s')", folder)), script)
  done <- processx::run(file.path(R.home("bin"), "Rscript"), script, error_on_status = FALSE,
                        env = c("current", R_LIBS = paste(.libPaths(), collapse = ":")))
  expect_identical(done$status, 0L, info = done$stderr)
  expect_match(done$stderr, "Nothing was recorded to .*: the optimizer's step.. was not called")
  expect_false(dir.exists(folder))
})
