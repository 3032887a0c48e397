# Keras computes in Python, within R's session: each test has one of its own.

keras_lines <- c(
  "library(keras3)", "set_random_seed(1L)",
  "model <- keras_model_sequential(input_shape = 3) |>",
  "  layer_dense(4, activation = 'relu', name = 'fc1') |> layer_dropout(0.5, name = 'drop') |>",
  "  layer_dense(2, name = 'fc2')",
  "model |> compile(optimizer_sgd(0.1, momentum = 0.9),",
  "                 loss_sparse_categorical_crossentropy(from_logits = TRUE))",
  "x <- matrix(sin(1:36), 12)", "y <- rep(0:1, 6)",
  "model |> fit(x, y, batch_size = 3, epochs = 1, verbose = 0, shuffle = FALSE)")

test_that("a script that uses Keras is recorded as it is, and a model by record()", {
  skip_without_keras()
  script <- tempfile(fileext = ".R")
  writeLines(c(keras_lines, "saveRDS(get_weights(model), commandArgs(TRUE)[[1L]])",
               "setwd(tempdir())"), script)
  idle <- tempfile(fileext = ".R")
  writeLines("library(keras3); model <- keras_model_sequential(input_shape = 3)", idle)
  failing <- tempfile(fileext = ".R")
  writeLines(c(keras_lines, "stop('mine')"), failing)
  places <- replicate(8L, tempfile())
  found <- in_new_session(function(script, idle, failing, places) {
    library(pyvae)
    said <- function(code) tryCatch(code, error = function(e) {
      gsub("[[:space:]]+", " ", cli::ansi_strip(conditionMessage(e)))
    })
    idle <- said(record_script(idle, places[[1L]]))
    record_script(script, places[[2L]], steps = 2, args = places[[3L]])
    recorded <- readRDS(places[[3L]])
    failing <- said(record_script(failing, places[[4L]], steps = 9))
    global <- globalenv()
    model <- global$model
    optimizer <- model$optimizer
    returned <- record(model, optimizer, places[[5L]], steps = 5)
    again <- said(record(model, optimizer, places[[6L]]))
    keras3::fit(model, global$x, global$y, batch_size = 4L, epochs = 1L, verbose = 0L)
    stopped <- list(stop_recording(), stop_recording())
    record(model, NULL, places[[7L]], steps = 1)
    predict(model, global$x, verbose = 0L)
    assign("commandArgs", function(...) places[[8L]], envir = global)
    source(script, local = global)
    list(idle = idle, failing = failing, again = again, stopped = stopped,
         returned = identical(returned, model),
         same = identical(recorded, readRDS(places[[8L]])), torch = isNamespaceLoaded("torch"),
         named = said(record(list(model), optimizer, places[[6L]])),
         full = said(record(model, optimizer, places[[5L]])))
  }, list(script, idle, failing, places), environment = c(KERAS_BACKEND = "torch"))
  trace <- read_program(places[[2L]])
  expect_identical(trace$language, "r")
  expect_identical(trace$index_base, 0L)
  expect_identical(trace$program, basename(script))
  expect_true(all(c("keras", "keras3", "R", "torch") %in% names(trace$environment)))
  expect_length(trace$steps, 2L)
  expect_identical(trace$network$fc1$layer, "linear")
  expect_true(all(c("fc1.kernel", "fc2.bias") %in%
                    vapply(trace$parameters, function(one) one$name, "")))
  expect_true(trace$complete)
  expect_true(found$same)                              # no bit of the training is another one
  expect_false(found$torch)
  expect_match(found$idle, "No step of .* was recorded. . No model of Keras was trained")
  expect_false(dir.exists(places[[1L]]))
  expect_identical(found$failing, "mine")
  failing <- read_program(places[[4L]])
  expect_false(failing$complete)
  expect_length(failing$steps, 4L)
  expect_true(found$returned)
  expect_match(found$again, "being recorded already, to .*or with stop_recording[(][)]")
  expect_identical(found$stopped, list(places[[5L]], character()))
  own <- read_program(places[[5L]])
  expect_length(own$steps, 3L)
  expect_true(own$complete)
  expect_length(read_program(places[[7L]])$steps, 1L)
  expect_match(found$named, "The models of `model` must have names")
  expect_match(found$full, "is not empty")
})

test_that("a script whose Keras computes with another library is told how to be recorded", {
  skip_without_keras()
  script <- tempfile(fileext = ".R")
  writeLines("x <- 1", script)
  place <- tempfile()
  said <- in_new_session(function(script, place) {
    reticulate::py_run_string(paste(
      "import sys, types", "keras = types.ModuleType('keras')",
      "keras.config = types.SimpleNamespace(backend=lambda: 'jax')",
      "sys.modules['keras'] = keras", sep = "\n"))
    model <- reticulate::py_eval("object()", convert = FALSE)
    said <- function(code) tryCatch(code, error = function(e) cli::ansi_strip(conditionMessage(e)))
    c(said(pyvae::record(model, NULL, place)), said(pyvae::record_script(script, place)))
  }, list(script, place))
  for (one in said) {
    expect_match(one, "Keras computes with jax, which cannot be seen")
    expect_match(gsub("[[:space:]]+", " ", one), "use_backend[(]\"torch\"[)].*KERAS_BACKEND=torch")
  }
  expect_false(dir.exists(place))
})

test_that("a Python that has Keras and lacks pyvae is told of", {
  skip_without_keras()
  python <- make_python()
  said <- in_new_session(function(place) {
    model <- reticulate::py_eval("object()", convert = FALSE)
    tryCatch(pyvae::record(model, NULL, place),
             error = function(e) gsub("[[:space:]]+", " ", cli::ansi_strip(conditionMessage(e))))
  }, list(tempfile()), environment = c(RETICULATE_PYTHON = python, PYTHONPATH = ""))
  expect_match(said, "The Python package pyvae is not installed")
  expect_match(said, "the Python that Keras is in: choose it before keras3 is loaded")
})
