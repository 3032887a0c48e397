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
