test_that("what is written is read again, to the last bit", {
  example <- program_example()
  trace <- read_program_trace(write_program_example())
  expect_identical(trace$engine, "base-r")
  expect_identical(c(trace$language, trace$index_base), c("r", "1"))
  expect_identical(trace$environment$R, paste0(R.version$major, ".", R.version$minor))
  expect_identical(trace$parameters$name, c("fc.weight", "fc.bias"))
  expect_identical(trace$parameters$shape, c("1 x 2", "1"))
  expect_true(all(trace$parameters$trainable))
  expect_named(trace$networks[[1L]], c("x", "fc", "target", "mse"))
  fc <- trace$networks[[1L]]$fc
  expect_identical(fc$parameters, list(weight = "fc.weight", bias = "fc.bias"))
  expect_identical(c(fc$inputs, fc$outputs), c("x", "fc"))
  expect_identical(trace$networks[[1L]]$mse$options, list(reduction = "mean"))
  group <- trace$steps[["1"]]$optimiser$groups[[1L]]
  expect_identical(unlist(group$parameters), c("fc.weight", "fc.bias"))
  expect_identical(group$settings, list(lr = 0.1, momentum = 0.9))
  values <- trace$arrays(1)
  step <- example$steps[[1L]]
  for (kind in c("start", "forward", "gradient", "parameter")) {
    for (name in names(step[[kind]])) {
      expect_identical(values[[paste0(kind, "/", name)]], step[[kind]][[name]], info = name)
    }
  }
  expect_identical(values[["loss/total"]], step$loss)
  expect_identical(values[["state/fc.weight.momentum_buffer"]], step$gradient$fc.weight)
  expect_length(values, 14L)
})

test_that("what a step leaves out may be NULL as well", {
  kinds <- c("draw", "given", "before", "state", "buffer", "loss", "optimiser", "stages")
  for (kind in kinds) {
    without <- do.call(with_step, stats::setNames(list(NULL), kind))
    values <- read_program_trace(write_program_example(steps = without))$arrays(1)
    expect_false(any(startsWith(names(values), paste0(kind, "/"))), info = kind)
    expect_true("forward/fc" %in% names(values), info = kind)
  }
})

test_that("names alone are a trace as well", {
  folder <- tempfile()
  x <- array(rnorm(24), 2:4)
  write_program_trace(folder, "mine", steps = list("3" = list("forward/a.b" = x, loss = 2),
                                                   "7" = list(forward = list(a.b = 1:3))),
                      language = "julia", index_base = 0, program = "a.jl",
                      environment = list(julia = "1.11"))
  trace <- read_program_trace(folder)
  expect_identical(c(trace$language, trace$program), c("julia", "a.jl"))
  expect_identical(trace$environment, list(julia = "1.11"))
  expect_identical(trace$networks, list(stats::setNames(list(), character())))
  expect_identical(nrow(trace$parameters), 0L)
  expect_named(trace$steps, c("3", "7"))
  expect_identical(trace$arrays(3), list("forward/a.b" = x, "loss/total" = 2))
  expect_identical(trace$arrays(7), list("forward/a.b" = 1:3))
})

# The header of the values of a step: type and shape of each.
types_of <- function(folder, step = 1) {
  path <- file.path(folder, "steps", sprintf("step-%06d.safetensors", step))
  bytes <- readBin(path, "raw", file.size(path))
  size <- sum(as.integer(bytes[1:8]) * 256^(0:7))
  header <- jsonlite::fromJSON(rawToChar(bytes[8 + seq_len(size)]), simplifyVector = FALSE)
  vapply(header, function(one) {
    paste0(one$dtype, "[", paste(unlist(one$shape), collapse = ","), "]")
  }, "")
}

test_that("types and shapes are those of the values", {
  folder <- tempfile()
  values <- list(a = 1L, b = TRUE, c = array(2, 1), d = c(1.5, 2), e = matrix(1:6, 2))
  stages <- lapply(names(values), stage, layer = "input")
  stages <- c(stages, list(stage("drop", "dropout", "d", list(p = 0.5))))
  write_program_trace(folder, "mine", stages, steps = list(list(
    forward = values, draw = list(drop = c(1, 0)), loss = 3L, start = list(w = 0.5, v = c(1, 2)),
    gradient = list(w = 0.1), before = list(step = 1, exp_avg = list(w = 2)),
    state = list(step = 2, exp_avg = list(w = 1)))),
    optimiser = list(kind = "adam", groups = list(list(parameters = "w",
                                                       settings = list(lr = 1)))))
  expect_mapequal(types_of(folder), c(
    "forward/a" = "I32[]", "forward/b" = "BOOL[]", "forward/c" = "F64[1]", "forward/d" = "F64[2]",
    "forward/e" = "I32[2,3]", "draw/drop" = "U8[2]", "loss/total" = "F64[]", "start/w" = "F64[1]",
    "start/v" = "F64[2]", "gradient/w" = "F64[1]", "before/w.step" = "F64[]",
    "before/w.exp_avg" = "F64[1]", "state/w.step" = "F64[]", "state/w.exp_avg" = "F64[1]"))
  expect_identical(read_program_trace(folder)$arrays(1)[["forward/e"]], matrix(1:6, 2))
  expect_identical(read_program_trace(folder)$parameters$trainable, c(TRUE, FALSE))
})

test_that("classes and indices are written as integers, probabilities are not", {
  loss_of <- function(target, layer = "cross_entropy_loss") {
    types_of(write_program_trace(
      tempfile(), "mine",
      list(stage("out", "input"), stage("y", "input"), stage("loss", layer, c("out", "y"))),
      steps = list(list(forward = list(out = diag(3), y = target)))))[["forward/y"]]
  }
  expect_identical(loss_of(c(1, 3, 2)), "I32[3]")
  expect_identical(loss_of(c(1, 3, 2), "mse_loss"), "F64[3]")
  expect_identical(loss_of(c(1, 3, 2.5)), "F64[3]")
  expect_identical(loss_of(diag(3)), "F64[3,3]")
  words <- write_program_trace(
    tempfile(), "mine", list(stage("words", "input"), stage("embed", "embedding", "words")),
    steps = list(list(forward = list(words = matrix(c(4, 1), 1)))))
  expect_identical(types_of(words)[["forward/words"]], "I32[1,2]")
})

test_that("options are JSON's values", {
  options <- list(p = 0.1, k = c(3, 3), one = I(2), flag = TRUE, none = NULL, text = "a\"b",
                  most = Inf, bounds = c(-Inf, 1), nested = list(1, list("a", NaN)))
  folder <- write_program_trace(tempfile(), "mine", list(stage("x", "input", options = options)),
                                steps = list(list(forward = list(x = 1))))
  found <- read_program_trace(folder)$networks[[1L]]$x$options
  expect_equal(found, list(p = 0.1, k = list(3L, 3L), one = list(2L), flag = TRUE, none = NULL,
                           text = "a\"b", most = "inf", bounds = list("-inf", 1L),
                           nested = list(1L, list("a", "nan"))))
})

test_that("steps may have a network and an optimiser of their own", {
  x <- list(forward = list(x = 1))
  other <- c(x, list(stages = list(stage("x", "input"), stage("y", "relu", "x")),
                     start = list(w = 1), buffer = list(m = c(1, 2)),
                     optimiser = list(kind = "adam", settings = list(lr = 0.5))))
  folder <- write_program_trace(tempfile(), "mine", list(stage("x", "input")),
                                parameters = list(w = 2, m = c(0, 0)), steps = list(x, other, x),
                                optimiser = list(kind = "sgd", settings = list(lr = 1)))
  trace <- read_program_trace(folder)
  expect_identical(vapply(trace$steps, function(one) one$network, 0), c("1" = 1, "2" = 2, "3" = 1))
  expect_identical(vapply(trace$steps, function(one) one$optimiser$kind, ""),
                   c("1" = "sgd", "2" = "adam", "3" = "sgd"))
  expect_identical(trace$parameters$kind, c("parameter", "buffer"))
  expect_identical(unlist(trace$steps[["2"]]$optimiser$groups[[1L]]$parameters), "w")
  expect_identical(trace$arrays(1)[["start/m"]], c(0, 0))          # from `parameters`
  expect_identical(trace$arrays(2)[["start/w"]], 1)
  expect_null(trace$arrays(3)[["start/w"]])
})

# What is wrong with the example, after changes.
wrong <- function(...) {
  folder <- tempfile()
  message <- complaint(write_program_example(..., folder = folder))
  expect_false(file.exists(folder))
  expect_false(grepl("\n", message))
  message
}

test_that("what is no trace is one line, and nothing is written", {
  stages <- program_example()$stages
  with_stage <- function(i, ...) {
    changed <- list(...)
    stages[[i]][names(changed)] <- changed
    wrong(stages = stages)
  }
  expect_match(with_stage(2, inputs = "z"), paste(
    "stage 'fc' takes 'z', which is neither a parameter nor returned by a stage before it"))
  expect_match(wrong(stages = stages[c(1, 4, 3, 2)]), "stage 'mse' takes 'fc'")
  expect_match(with_stage(2, parameters = c(weight = "fc.kernel")), "takes 'fc.kernel'")
  expect_match(with_stage(2, parameters = "fc.weight"), "must be names by role")
  expect_match(with_stage(2, name = "x", outputs = "fc"), "two stages are called 'x'")
  expect_match(with_stage(2, layer = ""), "stage 'fc' has no layer")
  expect_match(with_stage(2, units = 3), "stage 2 has 'units'; it is made by stage\\(\\)")
  expect_match(with_stage(2, options = list(1)), "options of stage 'fc' must be a named list")
  expect_match(with_stage(2, options = list(f = mean)), "stage 'fc' has an option that is neither")
  expect_match(with_stage(2, options = list(p = NA)), "stage 'fc' has an option that is NA")
  expect_match(with_stage(2, inputs = 1), "inputs and outputs of stage 'fc' must be names")
  expect_match(wrong(stages = "fc"), "stages must be a list of stages")

  step <- function(...) wrong(steps = with_step(...))
  expect_match(step(begin = 1), "step 1 has 'begin'; it may have start, forward")
  expect_match(step(forward = list(fd = 1)), paste(
    "step 1 has forward/fd, but there is no stage that returns a value of that name"))
  expect_match(step(gradient = list(fx = 1)), "gradient/fx, but there is no parameter or value")
  expect_match(step(parameter = list(w = 1)), "parameter/w, but there is no parameter")
  expect_match(step(draw = list(fd = 1)), "draw/fd, but there is no stage")
  expect_match(step(draw = list(fc = 0.5)), "must be 1 to keep and 0 to drop")
  expect_match(step(state = list(exp_avg = list(w = 1))), "belongs to none of the parameters")
  expect_match(step(state = 1), "momentum_buffer = list")
  expect_match(step(forward = list(1)), "forward, which must be a named list of arrays")
  expect_match(step(loss = c(1, 2)), "loss/total, which must be a single number")
  expect_match(step("forward/fc" = 1), "step 1 has forward/fc twice")
  expect_match(step(parameter = list(fc.weight = diag(2))), paste(
    "parameter/fc.weight of shape 2 x 2, but 'fc.weight' has shape 1 x 2"))
  expect_match(step(gradient = list(fc = diag(2))), "shape 2 x 2, but 'fc' has shape 3 x 1")
  expect_match(step(gradient = list(mse = c(1, 2))), "'mse' has shape a single number")
  expect_match(step(start = list(fc.weight = NULL, fc.bias = 0)), "'fc.weight' has no values")
  expect_match(step(forward = list(x = factor("a"))), "is a factor; use as.integer")
  expect_match(step(forward = list(x = data.frame(a = 1))), "is a data frame; use as.matrix")
  expect_match(step(forward = list(x = "a")), "not an array of real numbers, but character")
  expect_match(step(forward = list(x = 1i)), "not an array of real numbers, but complex")
  expect_match(step(forward = list(x = c(1L, NA))), "has NA")

  expect_match(wrong(steps = list()), "record at least one step")
  expect_match(wrong(steps = 1), "steps must be a list of steps")
  expect_match(wrong(steps = list(first = list(loss = 1))), "'first' is not one")
  expect_match(wrong(steps = list("2" = list(), "1" = list())), "do not increase")
  expect_match(wrong(steps = list(list(1))), "must be a named list")
  expect_match(wrong(engine = ""), "engine must be a name")
  expect_match(wrong(index_base = 2), "index_base must be 0 or 1")
  expect_match(wrong(environment = list("4.2")), "environment must be a named list of text")
  expect_match(wrong(optimiser = list(lr = 1)), "optimiser must be a list with its kind")
  expect_match(wrong(optimiser = list(kind = "sgd", settings = list(1))), "settings must be")
  expect_match(wrong(optimiser = list(kind = "sgd", lr = 0.1)),
               "optimiser has 'lr'; it may have kind, name, settings and groups")
  expect_match(wrong(optimiser = list(kind = "sgd", groups = list(list(parameters = "w")))),
               "optimiser has 'w', which is not a parameter")
  expect_match(wrong(parameters = list(1)), "parameters must be a named list")
})

test_that("nothing of the user's is overwritten", {
  folder <- write_program_example()
  again <- function(...) complaint(write_program_example(..., folder = folder))
  expect_match(again(), "holds a trace already")
  beside <- file.path(folder, "notes.txt")
  writeLines("mine", beside)
  write_program_example(overwrite = TRUE, steps = list("5" = program_example()$steps[[1L]]),
                        folder = folder)
  expect_identical(list.files(file.path(folder, "steps")), "step-000005.safetensors")
  expect_identical(readLines(beside), "mine")
  unlink(file.path(folder, "trace.json"))
  expect_match(again(overwrite = TRUE), "is not empty, and holds no trace of a program")
  expect_match(conditionMessage(expect_error(write_program_example(folder = beside))),
               "is a file; name a new folder")
  expect_identical(readLines(beside), "mine")
  expect_error(write_program_example(folder = 3), "folder must be the name of a folder")
})

test_that("networks that are not trained are written where they have changed", {
  step <- program_example()$steps[[1L]]
  with_networks <- function(...) c(step, list(untrained = list(...)))
  teacher <- list(fc.weight = matrix(c(0.1, -0.2), 1), fc.bias = 0.3)
  moved <- list(fc.weight = matrix(c(0.1, -0.1), 1), fc.bias = 0.3)
  folder <- write_program_example(steps = list(
    with_networks(teacher = teacher, backbone = list(w = 1:3)),
    with_networks(teacher = teacher, backbone = list(w = 1:3)),
    with_networks(teacher = moved)))
  keys <- lapply(read_program(folder)$arrays, function(one) {
    grep("^untrained/", names(one), value = TRUE)
  })
  expect_setequal(keys[[1L]], paste0("untrained/", c("teacher/fc.weight", "teacher/fc.bias",
                                                      "backbone/w")))
  expect_identical(keys[-1L], list(character(), "untrained/teacher/fc.weight"))
  wrong <- function(untrained) {
    complaint(write_program_example(steps = with_step(untrained = untrained)))
  }
  expect_match(wrong(teacher), "must be a list of networks")
  expect_match(wrong(list("a/b" = teacher)), "without / in their names")
  expect_match(wrong(list(teacher = list(w = "a"))), "not an array of real numbers")
})
