test_that("what a function of the program's own computes is no stage", {
  folder <- with_torch({
    reverse <- autograd_function(
      forward = function(ctx, x) (x * 1)$view_as(x),
      backward = function(ctx, grad) list(x = -grad))
    net <- nn_module(
      initialize = function() {
        self$fc <- nn_linear(3, 4)
        self$out <- nn_linear(4, 1)
      },
      forward = function(x) self$out(reverse(self$fc(x)))$sum())
    folder <- tempfile("program", tmpdir = dirname(tempdir()))
    model <- net()
    optimizer <- optim_sgd(model$parameters, lr = 0.1)
    model <- suppressMessages(record(model, optimizer, folder, steps = 1))
    model(torch_ones(2, 3))$backward()
    optimizer$step()
    folder
  })
  trace <- read_program(folder)
  expect_identical(stage_texts(trace), c("input: input()", "fc: linear(input)", "input#2: input()",
                                         "out: linear(input#2)", "sum: sum(out)"))
  expect_identical(trace$network[["input#2"]]$options, list(grad_fn = "reverseBackward"))
  arrays <- trace$arrays[[1L]]
  expect_identical(arrays[["forward/input#2"]], arrays[["forward/fc"]])
  expect_equal(arrays[["gradient/fc"]], -arrays[["gradient/input#2"]])
  expect_false(all(arrays[["gradient/fc"]] == 0))
})
