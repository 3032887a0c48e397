test_that("a script is recorded as it is, with its arguments", {
  script <- tempfile(fileext = ".R")
  writeLines(c(
    "library(torch)", "torch_manual_seed(1)",
    "net <- nn_module(initialize = function() self$fc <- nn_linear(3, 2),",
    "                 forward = function(x) self$fc(x)$relu())",
    "model <- net()", "optimizer <- optim_ignite_adam(model$parameters)",
    "for (step in seq_len(as.integer(commandArgs(TRUE)[[1]]))) {",
    "  optimizer$zero_grad()", "  model(torch_randn(4, 3))$sum()$backward()",
    "  optimizer$step()", "}"), script)
  idle <- tempfile(fileext = ".R")
  writeLines("x <- 1", idle)
  failing <- tempfile(fileext = ".R")
  writeLines(c(readLines(script), "stop('mine')"), failing)
  loose <- tempfile(fileext = ".R")
  writeLines(c("w <- torch::torch_zeros(2, requires_grad = TRUE)",
               "optimizer <- torch::optim_sgd(list(w), lr = 0.1)"), loose)
  several <- tempfile(fileext = ".R")
  writeLines(c("one <- torch::nn_linear(2, 2)", "two <- torch::nn_linear(2, 2)",
               "optimizer <- torch::optim_sgd(c(one$parameters, two$parameters), lr = 0.1)",
               "two(one(torch::torch_ones(1, 2)))$sum()$backward()", "optimizer$step()"), several)
  python <- tempfile(fileext = ".py")
  writeLines("import torch", python)
  nothing <- tempfile()
  folder <- tempfile()
  broken <- tempfile()
  both <- tempfile()
  found <- with_torch(arguments = list(script = script, idle = idle, failing = failing, both = both,
                                       folder = folder, broken = broken, python = python,
                                       nothing = nothing, loose = loose, several = several), {
    said <- function(code) tryCatch(code, error = function(e) plain_message(e))
    make <- pyvae:::torch_internal("create_nn_module_callable")
    suppressMessages(record_script(script, folder, steps = 2, args = "3"))
    list(idle = said(record_script(idle, tempfile())),
         loose = said(record_script(loose, tempfile())),
         several = suppressMessages(record_script(several, both, steps = 1)),
         none = said(record_script("nix.R", "x")),
         dir = said(record_script(dirname(script), "x")), python = said(record_script(python, "x")),
         kept = {
           said(record_script(idle, folder, overwrite = TRUE))
           file.exists(file.path(folder, "trace.json"))
         },
         left = said(record_script(idle, nothing)), made = dir.exists(nothing),
         failing = said(suppressMessages(record_script(failing, broken, steps = 5, args = "3"))),
         args = commandArgs(TRUE), options = is.null(getOption("pyvae.optimiser")),
         restored = identical(make, pyvae:::torch_internal("create_nn_module_callable")))
  })
  trace <- read_program(folder)
  expect_identical(stage_texts(trace), c("randn: draw()", "fc: linear(randn)", "relu: relu(fc)",
                                         "sum: sum(relu)"))
  expect_identical(trace$program, basename(script))
  expect_identical(trace$steps[[1L]]$optimiser$kind, "ignite_adam")
  expect_true(trace$complete)
  expect_match(found$idle, "No step of .* was recorded. . No optimizer was made .* A step is a call")
  expect_match(found$loose, "tensors that are parameters of no `nn_module[(][)]`. . .*nn_parameter")
  expect_identical(unname(vapply(read_program(both)$parameters, function(one) one$name, "")),
                   c("linear.weight", "linear.bias", "linear2.weight", "linear2.bias"))
  expect_identical(stage_texts(read_program(both)), c(
    "input: input()", "linear: linear(input)", "linear2: linear(linear)", "sum: sum(linear2)"))
  expect_match(found$none, "There is no 'nix.R'")
  expect_match(found$dir, "is a folder")
  expect_match(found$python, "is one in Python. . Record it in a shell: .*--out DIR -- .*[.]py")
  expect_match(found$left, "No step of .* was recorded")
  expect_false(found$made)
  expect_true(found$kept)
  expect_identical(found$failing, "mine")
  expect_identical(read_program(broken)$ended, "the script ended with an error")
  expect_identical(found$args, character())
  expect_true(found$options && found$restored)
})

test_that("a script with several models is recorded as it is, from the start of another one", {
  text <- c(
    "library(torch)", "torch_manual_seed(1)",
    "generator <- nn_module('Maker', initialize = function() self$fc <- nn_linear(2, 3),",
    "                       forward = function(x) self$fc(x))",
    "g <- generator()", "d <- nn_linear(3, 1)",
    "one <- optim_sgd(d$parameters, lr = 0.1)", "two <- optim_sgd(g$parameters, lr = 0.1)",
    "for (step in 1:2) {",
    "  fake <- g(torch_randn(4, 2))",
    "  one$zero_grad()", "  d(fake$detach())$sum()$backward()", "  one$step()",
    "  two$zero_grad()", "  d(fake)$mean()$backward()", "  two$step()", "}")
  script <- tempfile(fileext = ".R")
  writeLines(c(text, "three <- optim_sgd(g$parameters, lr = 0.1)", "lone <- nn_linear(1, 1)",
               "four <- optim_sgd(lone$parameters, lr = 0.1)"), script)
  again <- tempfile(fileext = ".R")
  writeLines(sub("manual_seed(1)", "manual_seed(2)", text, fixed = TRUE), again)
  single <- tempfile(fileext = ".R")
  writeLines(c("library(torch)", "d <- nn_linear(3, 1)",
               "one <- optim_sgd(d$parameters, lr = 0.1)", "print('made')", "one$step()"), single)
  folder <- tempfile()
  started <- tempfile()
  said <- with_torch(arguments = list(script = script, again = again, single = single,
                                      folder = folder, started = started), {
    messages <- character()
    withCallingHandlers(record_script(script, folder, steps = 2), message = function(m) {
      messages <<- c(messages, plain_message(m))
    })
    suppressMessages(record_script(again, started, steps = 2, start = folder, replay = folder))
    printed <- utils::capture.output(refused <- tryCatch(
      record_script(single, tempfile(), start = folder), error = plain_message))
    list(messages = messages, refused = refused, printed = printed)
  })
  trace <- read_program(folder)
  expect_true(trace$complete)
  names <- vapply(trace$parameters, function(one) one$name, "")
  expect_setequal(names, c("linear.weight", "linear.bias", "maker.fc.weight", "maker.fc.bias"))
  kinds <- vapply(trace$steps, function(one) one$optimiser$name, "")
  expect_identical(kinds, rep(c("optimizer.0", "optimizer.1"), 2L))
  expect_identical(sum(grepl("made it after the first step", said$messages)), 1L)
  expect_identical(read_program(started)$arrays, trace$arrays)
  expect_match(said$refused, "has no start of .*weight")
  expect_match(said$printed, "made")  # the model that lacks might have come
})
