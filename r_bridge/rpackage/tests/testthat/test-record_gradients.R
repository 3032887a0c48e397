test_that("a gradient that a program trains on is a stage, and leaves none of the loss", {
  found <- with_torch({
    net <- nn_module(
      initialize = function() {
        self$fc <- nn_linear(2, 4)
        self$out <- nn_linear(4, 1)
      },
      forward = function(x) self$out(torch_tanh(self$fc(x))))
    run <- function(record_it) {
      torch_manual_seed(1)
      model <- net()
      optimizer <- optim_sgd(model$parameters, lr = 0.1)
      folder <- tempfile("program", tmpdir = dirname(tempdir()))
      if (record_it) model <- suppressMessages(record(model, optimizer, folder, steps = 1))
      x <- torch_ones(3, 2)$requires_grad_(TRUE)
      out <- model(x)
      out$retain_grad()
      # twice: what a tensor keeps would be added up
      slope <- autograd_grad(out, x, torch_ones_like(out), create_graph = TRUE)[[1]]
      autograd_grad(out$sum(), x, retain_graph = TRUE)
      if (!record_it) out$grad <- NULL
      (slope$pow(2)$sum() + out$pow(2)$sum())$backward()
      kept <- as_array(out$grad)
      optimizer$step()
      list(folder = folder, kept = kept, weight = as_array(model$fc$weight))
    }
    list(alone = run(FALSE), recorded = run(TRUE))
  })
  expect_identical(found$recorded$weight, found$alone$weight)
  trace <- read_program(found$recorded$folder)
  expect_identical(trace$network$grad$inputs, list("out", "input", "input#2"))
  expect_identical(trace$network$grad$outputs, list("grad.0"))
  expect_true(trace$network$grad$options$create_graph)
  arrays <- trace$arrays[[1L]]
  expect_equal(c(arrays[["gradient/out"]]), c(2 * arrays[["forward/out"]]))
  expect_identical(c(arrays[["gradient/out"]]), c(found$alone$kept))
})
