test_that("what stands in brackets is recorded, also where it is computed there", {
  folder <- tempfile()
  calls <- with_torch({
    torch_manual_seed(1)
    model <- nn_linear(3, 4)
    optimizer <- optim_sgd(model$parameters, lr = 0.1)
    record(model, optimizer, folder, steps = 1)
    calls <- 0
    second <- function() {
      calls <<- calls + 1
      2
    }
    y <- model(torch_randn(5, 3))
    parts <- list(
      y[y$detach()$argmax(dim = 1), ], y[second(), ], y[seq(1, 5, by = 2), 1:second()],
      y[.., -1], y[, torch_arange(1, 2)$to(dtype = torch_long())], y[NULL, second(), ],
      y[torch_randint(1, 6, 2, dtype = torch_long()), , drop = FALSE])
    sum <- Reduce(`+`, lapply(parts, function(part) part$sum()))
    sum$backward()
    optimizer$step()
    error <- tryCatch(y[no_such_function(), ], error = function(e) conditionMessage(e))
    list(calls, error)
  }, arguments = list(folder = folder))
  expect_identical(calls[[1L]], 3)                       # each of them once
  expect_match(calls[[2L]], "no_such_function")
  stages <- read_program(folder)$network
  index <- Filter(function(stage) stage$layer == "index", stages)
  said <- lapply(unname(index), function(stage) stage$options$index)
  expect_equal(said, list(
    list("tensor"), list(1L), list(list(0L, 2L, 4L), ":2"), list("...", -1L),
    list(":", "tensor"), list(NULL, 1L), list("tensor")))
  expect_identical(unlist(index[[1L]]$inputs), c("linear", "argmax"))
  expect_identical(stages$argmax$layer, "argmax")
  expect_identical(unlist(index[[7L]]$inputs), c("linear", "randint"))
})

# A step of one linear layer, of whose values `f` makes the loss; recorded, and as it is.
put_program <- function() {
  if (!is.null(made$put)) return(made$put)
  folders <- vapply(1:5, function(i) tempfile(), "")
  made$put <- with_torch({
    calls <- 0
    first <- function() {
      calls <<- calls + 1
      1
    }
    programs <- list(
      function(h) {
        z <- torch_empty(4, 6)
        z[, first():3] <- h[, 4:6]
        z[, 4:6] <- h[, 1:3]$tanh()
        z
      },
      function(h) {
        z <- h * 1
        z[z$detach() < 0] <- 0
        z[torch_tensor(c(1L, 3L)), ] <- torch_tensor(0.5)
        z[2, 2] <- c(7)
        z
      },
      function(h) {
        z <- h * 1
        z$narrow(2, 1, 3)$copy_(h[, 4:6])
        z$slice(dim = 2, start = 3, end = 5)$fill_(0.5)
        z[4, ]$zero_()
        z$select(2, -1)$zero_()
        z
      },
      function(h) {
        z <- h * 2
        z[1, ]$add_(1)
        z[2:3, ]$mul_(2)
        z
      },
      function(h) {
        z <- h * 1
        z$index_put_(list(torch_tensor(c(1L, 3L)), torch_tensor(c(2L, 6L))),
                     torch_tensor(c(5, 6)))
        z[c(1, 3), torch_tensor(c(2L, 6L))]
      })
    run <- function(f, folder = NULL) {
      torch_manual_seed(1)
      model <- nn_linear(3, 6)
      optimizer <- optim_sgd(model$parameters, lr = 0.1)
      x <- torch_randn(4, 3)
      if (!is.null(folder)) suppressMessages(record(model, optimizer, folder, steps = 1))
      z <- f(model(x))
      (z * z)$sum()$backward()
      optimizer$step()
      as.numeric(model$weight)
    }
    weights <- Map(run, programs, folders)
    called <- calls
    list(weights = weights, called = called, plain = lapply(programs, run))
  }, arguments = list(folders = folders))
  made$put$traces <- lapply(folders, read_program)
  unlink(folders, recursive = TRUE)
  made$put
}

test_that("what is put into a part of a tensor is recorded, and changes no number", {
  put <- put_program()
  expect_identical(put$called, 1)                        # what stands in brackets, once
  expect_identical(put$weights, put$plain)
  halves <- put$traces[[1L]]
  expect_identical(stage_texts(halves)[3:8], c(
    "index: index(linear)", "input#2: input()", "index_put: index_put(input#2, index)",
    "index#2: index(linear)", "tanh: tanh(index#2)", "index_put#2: index_put(index_put, tanh)"))
  expect_equal(halves$network[["index_put"]]$options$index, list(":", ":3"))
  at <- halves$arrays[[1L]]
  h <- at[["forward/linear"]]
  expect_identical(unique(c(at[["forward/input#2"]])), 0)       # not what was in memory
  expect_identical(at[["forward/index_put"]], cbind(h[, 4:6], matrix(0, 4, 3)))
  expect_equal(at[["forward/index_put#2"]], cbind(h[, 4:6], tanh(h[, 1:3])), tolerance = 1e-6)
  expect_equal(at[["gradient/tanh"]], 2 * tanh(h[, 1:3]), tolerance = 1e-6)
})

test_that("masks, indices and numbers are put as Python puts them", {
  found <- put_program()$traces[[2L]]
  puts <- Filter(function(stage) stage$layer == "index_put", found$network)
  expect_identical(lapply(unname(puts), function(stage) unlist(stage$inputs)), list(
    c("mul", "lt"), c("index_put", "input#2", "input#3"), "index_put#2"))
  expect_equal(lapply(unname(puts), function(stage) stage$options), list(
    list(index = list("tensor"), value = 0L), list(index = list("tensor")),
    list(index = list(1L, 1L), value = 7L)))
})

test_that("a part that is filled is a part that is put", {
  found <- put_program()$traces[[3L]]
  puts <- Filter(function(stage) stage$layer == "index_put", found$network)
  expect_identical(lapply(unname(puts), function(stage) unlist(stage$inputs)), list(
    c("mul", "index"), "index_put", "index_put#2", "index_put#3"))
  expect_equal(lapply(unname(puts), function(stage) stage$options), list(
    list(index = list(":", "0:3")), list(index = list(":", "3:5"), value = 0.5),
    list(index = list(3L), value = 0L), list(index = list(":", -1L), value = 0L)))
  expect_false(any(vapply(found$network, function(stage) stage$layer == "copy", NA)))
})

test_that("what was changed through a part is another tensor, and each has its gradient", {
  found <- put_program()$traces[[4L]]
  inputs <- Filter(function(stage) identical(stage$options$grad_fn, "CopySlices"), found$network)
  expect_named(inputs, c("input#2", "input#3"))
  at <- found$arrays[[1L]]
  doubled <- c(1, 2, 2, 1)
  expect_equal(at[["forward/input#3"]], at[["forward/input#2"]] * doubled, tolerance = 1e-6)
  expect_equal(at[["gradient/input#2"]], at[["gradient/input#3"]] * doubled, tolerance = 1e-6)
  expect_equal(at[["gradient/mul"]], at[["gradient/input#2"]], tolerance = 1e-6)
})

test_that("indices in two places are taken each with each in brackets, by index_put() in pairs", {
  found <- put_program()$traces[[5L]]
  expect_equal(found$network$index_put$options, list(index = list("tensor", "tensor")))
  expect_equal(found$network$index$options,
               list(index = list(list(0L, 2L), "tensor"), outer = TRUE))
})
