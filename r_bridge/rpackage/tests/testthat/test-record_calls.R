# Small programs, each recorded for one step in one session: the stages by name.
recorded_programs <- function() {
  if (is.null(made$programs)) {
    folders <- with_torch({
      one_step <- function(model, train, optimizer = optim_sgd(model$parameters, lr = 0.1)) {
        torch_manual_seed(1)
        folder <- tempfile("program", tmpdir = dirname(tempdir()))
        x <- torch_randn(4, 3)                       # before: comes from outside
        suppressMessages(model <- record(model, optimizer, folder, steps = 1))
        train(model, x)
        optimizer$step()
        folder
      }
      sum_of <- function(model, x) model(x)$sum()$backward()
      block <- nn_module(initialize = function() self$fc <- nn_linear(3, 3),
                         forward = function(x) torch_relu(self$fc(x)))
      twice <- nn_module(
        initialize = function() {
          self$fc <- nn_linear(3, 3)
          self$block <- block()
        },
        forward = function(x) nnf_relu(self$block(torch_tanh(self$fc(self$fc(x))))) + x)
      captured <- nn_linear(3, 2)
      capturing <- nn_module(
        initialize = function(inner) {
          self$inner <- inner
          self$list <- nn_module_list(list(nn_linear(2, 2)))
        },
        forward = function(x) self$list[[1]](captured(x)))
      shared <- nn_module(
        initialize = function() {
          self$a <- nn_linear(3, 3)
          self$b <- nn_linear(3, 3)
          self$b$weight <- self$a$weight
        },
        forward = function(x) self$b(self$a(x)))
      rnn <- nn_module(initialize = function() self$rnn <- nn_lstm(3, 2, batch_first = TRUE),
                       forward = function(x) self$rnn(x$unsqueeze(2))[[2]][[1]][1, .., 1:2])
      subclass <- nn_module("mine", inherit = nn_linear,
                            forward = function(x) 2 * nnf_linear(x, self$weight, self$bias))
      list(
        twice = one_step(twice(), sum_of),
        captured = one_step(capturing(captured), sum_of),
        shared = one_step(shared(), sum_of),
        rnn = one_step(rnn(), sum_of),
        subclass = one_step(subclass(3, 2), sum_of),
        inplace = one_step(nn_sequential(nn_linear(3, 3), nn_relu(inplace = TRUE), nn_linear(3, 1)),
                           sum_of),
        residual = one_step(nn_sequential(nn_linear(3, 3), nn_linear(3, 3)), function(model, x) {
          before <- model[[1]](x)
          after <- model[[2]](before)
          after$add_(before)$mul_(3)
          nnf_relu(after, inplace = TRUE)$sum()$backward()
        }),
        numbers = one_step(nn_linear(3, 2), function(model, x) {
          y <- model(x)
          y <- torch_where(y > 0, 1 - y, -y) / 2 + 0.5 * y^2
          y$sum()$backward()
        }),
        axes = one_step(nn_linear(3, 2), function(model, x) {
          y <- model(x)
          parts <- torch_split(y, 1, dim = 2)
          z <- torch_cat(list(parts[[2]], parts[[1]]), dim = 2)$permute(c(2, 1))
          y <- nnf_softmax(z[, c(1, 3)], dim = 1)$max(dim = -1)[[1]]
          y$mean()$backward()
        }),
        order = one_step(nn_linear(3, 3), function(model, x) {
          y <- model(x)
          places <- torch_sort(y$detach(), dim = 2)[[2]]
          last <- y$gather(2, torch_argsort(y$detach(), dim = 2))[, 3]
          (y$gather(2, places)[, 1] + last)$sum()$backward()
        }),
        accumulated = one_step(nn_linear(3, 1), function(model, x) {
          for (i in 1:2) sum_of(model, x)
          with_no_grad(model(x))
        }),
        derivative = one_step(
          nn_sequential(nn_linear(3, 4), nn_tanh(), nn_linear(4, 1)), function(model, x) {
            x$requires_grad_(TRUE)
            slope <- autograd_grad(model(x)$sum(), x, create_graph = TRUE)[[1]]
            slope$pow(2)$sum()$backward()
          }),
        penalty = one_step(nn_linear(3, 1), function(model, x) {
          loss <- nnf_mse_loss(model(x), x[, 1, drop = FALSE]) + 0.1 * model$weight$pow(2)$sum()
          seen <- loss$detach()
          loss$backward()
        }))
    })
    made$programs <- lapply(folders, read_program)
    unlink(unlist(folders), recursive = TRUE)
  }
  made$programs
}

test_that("the order of numbers counts from 1, as torch_sort() and torch_argsort() return it", {
  found <- recorded_programs()$order
  expect_match(stage_texts(found), ": gather\\(.*, sort.1\\)$", all = FALSE)
  expect_setequal(as.integer(found$arrays[[1L]][["forward/sort.1"]]), 1:3)
  expect_setequal(as.integer(found$arrays[[1L]][["forward/argsort"]]), 1:3)
})

test_that("modules used twice, modules within modules and arguments that are calls", {
  expect_identical(stage_texts(recorded_programs()$twice), c(
    "input: input()", "fc: linear(input)", "fc#2: linear(fc)", "tanh: tanh(fc#2)",
    "block.fc: linear(tanh)", "block.relu: relu(block.fc)", "relu: relu(block.relu)",
    "add: add(relu, input)", "sum: sum(add)"))
})

test_that("a module that is called past the model is seen as the function that it computes", {
  found <- recorded_programs()$captured
  expect_identical(stage_texts(found)[2:3], c("linear: linear(input)", "list.0: linear(linear)"))
  expect_identical(found$network$linear$parameters,
                   list(weight = "inner.weight", bias = "inner.bias"))
})

test_that("shared weights are listed twice and held once", {
  found <- recorded_programs()$shared
  listed <- stats::setNames(found$parameters, vapply(found$parameters, function(p) p$name, ""))
  expect_identical(names(listed), c("a.weight", "a.bias", "b.weight", "b.bias"))
  expect_identical(listed$b.weight$same_as, "a.weight")
  expect_identical(found$network$b$parameters$weight, "b.weight")
  expect_false("start/b.weight" %in% names(found$arrays[[1L]]))
})

test_that("an RNN's outputs and parameters are named as PyTorch's", {
  found <- recorded_programs()$rnn
  expect_identical(unlist(found$network$rnn$outputs), c("rnn.0", "rnn.1.0", "rnn.1.1"))
  expect_identical(found$network$rnn$parameters$weight_hh_l0, "rnn.weight_hh_l0")
  expect_identical(stage_texts(found)[4:5], c("index: index(rnn.1.0)", "sum: sum(index)"))
  expect_equal(found$network$index$options$index, list(0L, "...", ":2"))
})

test_that("a class of the user's own is looked into", {
  found <- recorded_programs()$subclass
  expect_identical(stage_texts(found)[2:3], c("linear: linear(input)", "mul: mul(linear)"))
  expect_equal(found$network$mul$options, list(other = 2L))
})

test_that("what an in-place layer changes keeps the value that it had", {
  found <- recorded_programs()$inplace
  at <- found$arrays[[1L]]
  expect_true(any(at[["forward/0"]] < 0))
  expect_identical(at[["forward/1"]], pmax(at[["forward/0"]], 0))
  expect_identical(at[["gradient/0"]], at[["gradient/1"]] * (at[["forward/0"]] > 0))
})

test_that("each of several changes in place has the gradient of what it changed", {
  found <- recorded_programs()$residual
  expect_identical(stage_texts(found)[-1L], c(
    "0: linear(input)", "1: linear(0)", "add: add(1, 0)", "mul: mul(add)", "relu: relu(mul)",
    "sum: sum(relu)"))
  at <- found$arrays[[1L]]
  positive <- (at[["forward/mul"]] > 0) + 0
  expect_identical(at[["gradient/mul"]], positive)
  expect_identical(at[["gradient/add"]], 3 * positive)
  expect_identical(at[["gradient/1"]], 3 * positive)
  expect_equal(at[["gradient/0"]], 3 * positive + 3 * positive %*% at[["start/1.weight"]],
               tolerance = 1e-6)
})

test_that("numbers in operators are options, as PyTorch has them", {
  found <- recorded_programs()$numbers
  expect_identical(stage_texts(found)[-(1:2)], c(
    "gt: gt(linear)", "sub: sub(linear)", "sub#2: sub(linear)", "where: where(gt, sub, sub#2)",
    "div: div(where)", "pow: pow(linear)", "mul: mul(pow)", "add: add(div, mul)", "sum: sum(add)"))
  options <- lapply(found$network, function(stage) stage$options)
  expect_equal(options$gt, list(other = 0L))
  expect_equal(options$sub, list(self = 1L))
  expect_equal(options[["sub#2"]], list(self = 0L))
  expect_equal(options$div, list(other = 2L))
  expect_equal(options$pow, list(exponent = 2L))
  expect_equal(options$mul, list(other = 0.5))
  at <- found$arrays[[1L]]
  y <- at[["forward/linear"]]
  expect_equal(at[["forward/add"]], ifelse(y > 0, 1 - y, -y) / 2 + y^2 / 2, tolerance = 1e-6)
})

test_that("axes count from 0, and tuples have places", {
  found <- recorded_programs()$axes
  expect_identical(stage_texts(found)[-(1:2)], c(
    "split: split(linear)", "cat: cat(split.1, split.0)", "permute: permute(cat)",
    "index: index(permute)", "softmax: softmax(index)", "max: max(softmax)", "mean: mean(max.0)"))
  expect_equal(found$network$permute$options$dims, list(1L, 0L))
  expect_equal(found$network$index$options$index, list(":", list(0L, 2L)))
  expect_equal(found$network$softmax$options$dim, 0L)
  expect_equal(found$network$cat$options$dim, 1L)
})

test_that("the losses of several backward() add up, and calls without gradients are left out", {
  found <- recorded_programs()$accumulated
  at <- found$arrays[[1L]]
  expect_identical(stage_texts(found), c(
    "input: input()", "linear: linear(input)", "sum: sum(linear)", "linear#2: linear(input)",
    "sum#2: sum(linear#2)"))
  expect_equal(at[["loss/total"]], at[["loss/backward.1"]] + at[["loss/backward.2"]])
  expect_equal(at[["gradient/weight"]], 2 * matrix(colSums(at[["forward/input"]]), 1L),
               tolerance = 1e-6)
})

test_that("parameters go into functions by name, and the loss's own copy is no stage", {
  found <- recorded_programs()$penalty
  expect_identical(stage_texts(found)[-(1:2)], c(
    "input#2: input()", "mse_loss: mse_loss(linear, input#2)", "pow: pow(weight)", "sum: sum(pow)",
    "mul: mul(sum)", "add: add(mse_loss, mul)"))
})

test_that("what autograd_grad() returns is a stage, and what it leaves is no gradient of the loss", {
  found <- recorded_programs()$derivative
  expect_identical(stage_texts(found)[-(1:4)], c(
    "sum: sum(2)", "grad: grad(sum, input)", "pow: pow(grad.0)", "sum#2: sum(pow)"))
  expect_identical(found$network$grad$options, list(create_graph = TRUE))
  at <- found$arrays[[1L]]
  expect_equal(at[["gradient/grad.0"]], 2 * at[["forward/grad.0"]], tolerance = 1e-6)
  expect_null(at[["gradient/sum"]])
  expect_null(at[["gradient/2"]])
})
