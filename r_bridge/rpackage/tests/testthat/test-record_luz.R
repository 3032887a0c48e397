test_that("luz's fit() is recorded by a callback", {
  skip_without_torch()
  skip_if(!nzchar(system.file(package = "luz")), "needs the R package luz")
  folder <- tempfile()
  found <- with_torch(arguments = list(folder = folder), {
    net <- nn_module("mlp", initialize = function() {
      self$fc1 <- nn_linear(10, 8)
      self$fc2 <- nn_linear(8, 1)
    }, forward = function(x) self$fc2(nnf_relu(self$fc1(x))))
    run <- function(...) {
      torch_manual_seed(4)
      x <- torch_randn(64, 10)
      y <- torch_randn(64, 1)
      ready <- luz::setup(net, loss = nn_mse_loss(), optimizer = optim_adam)
      fitted <- luz::fit(ready, list(x, y), epochs = 2, valid_data = list(x, y), verbose = FALSE,
                         dataloader_options = list(batch_size = 16, shuffle = FALSE),
                         callbacks = list(...))
      lapply(fitted$model$parameters, as_array)
    }
    list(plain = run(), recorded = run(luz_callback_record(folder, steps = 6)))
  })
  expect_identical(found$recorded, found$plain)
  trace <- read_program(folder)
  expect_identical(stage_texts(trace), c(
    "input: input()", "fc1: linear(input)", "relu: relu(fc1)", "fc2: linear(relu)",
    "input#2: input()", "mse_loss: mse_loss(fc2, input#2)"))
  expect_length(trace$steps, 6L)
  expect_length(trace$networks, 1L)
})
