# One session trains a CNN with and without a recorder.
cnn <- function() {
  if (is.null(made$cnn)) {
    folder <- tempfile("cnn")
    made$cnn <- with_torch(arguments = list(folder = folder), {
      run <- function(recorded) {
        torch_manual_seed(1)
        net <- nn_module(
          "net",
          initialize = function() {
            self$features <- nn_sequential(nn_conv2d(1, 3, 3), nn_batch_norm2d(3),
                                           nn_relu(inplace = TRUE), nn_dropout2d(0.3))
            self$out <- nn_linear(3 * 4 * 4, 5)
          },
          forward = function(x) {
            x <- self$features(x)
            x <- nnf_dropout(x$flatten(start_dim = 2), 0.25)
            self$out(x)
          })
        model <- net()
        optimizer <- optim_sgd(model$parameters, lr = 0.1, momentum = 0.9)
        criterion <- nn_cross_entropy_loss()
        if (recorded) record(model, optimizer, folder, steps = 2, every = 2)
        losses <- numeric()
        for (step in 1:5) {
          x <- torch_randn(6, 1, 6, 6)
          y <- torch_randint(1, 6, size = 6, dtype = torch_long())
          optimizer$zero_grad()
          loss <- criterion(model(x), y)
          loss$backward()
          nn_utils_clip_grad_norm_(model$parameters, 0.05)
          optimizer$step()
          model$eval()
          with_no_grad(model(x))
          model$train()
          losses <- c(losses, loss$item())
        }
        list(hash = lapply(model$state_dict(), function(x) {
          cli::hash_raw_sha256(buffer_from_torch_tensor(x$contiguous()))
        }), losses = losses, wrapped = length(body(nnf_relu)) < 4L,
        state = cli::hash_raw_sha256(buffer_from_torch_tensor(torch_get_rng_state())))
      }
      plain <- run(FALSE)
      said <- character()
      recorded <- withCallingHandlers(run(TRUE), message = function(m) {
        said <<- c(said, gsub("[[:space:]]+", " ", conditionMessage(m)))
      })
      list(plain = plain, recorded = recorded, said = paste(said, collapse = " "))
    })
    made$cnn$trace <- read_program(folder)
    made$cnn$size <- sum(file.size(list.files(file.path(folder, "steps"), full.names = TRUE)))
  }
  made$cnn
}

test_that("no bit of a training changes, nor of the generator", {
  found <- cnn()
  expect_identical(found$recorded, found$plain)
})

test_that("how much room it takes is said, and right", {
  said <- cnn()$said
  expect_match(said, "Recording 2 steps to .*: about [0-9.]+ kB[.]")
  much <- as.numeric(sub(".* about ([0-9.]+) kB.*", "\\1", said)) * 1000
  expect_lt(abs(much / cnn()$size - 1), 0.15)
})

test_that("a CNN is recorded as it is executed, and nothing of its validation", {
  trace <- cnn()$trace
  expect_identical(stage_texts(trace), c(
    "randn: draw()", "randint: draw()", "features.0: conv2d(randn)",
    "features.1: batch_norm2d(features.0)", "features.2: relu(features.1)",
    "features.3: dropout2d(features.2)", "flatten: flatten(features.3)",
    "dropout: dropout(flatten)", "out: linear(dropout)",
    "cross_entropy_loss: cross_entropy_loss(out, randint)"))
  expect_identical(trace$network$features.0$parameters,
                   list(weight = "features.0.weight", bias = "features.0.bias"))
  expect_equal(trace$network$features.0$options[c("in_channels", "kernel_size", "bias")],
               list(in_channels = 1L, kernel_size = list(3L, 3L), bias = TRUE))
  expect_equal(trace$network$flatten$options, list(start_dim = 1L))
  expect_identical(trace$network$cross_entropy_loss$options$reduction, "mean")
  expect_identical(trace$index_base, 1L)
  expect_true(trace$complete)
  expect_length(trace$networks, 1L)
  expect_identical(vapply(trace$steps, function(step) step$step, 0L), c(1L, 3L))
  expect_false(identical(trace$steps[[1L]]$generator, trace$steps[[2L]]$generator))
})

test_that("values, masks and gradients are those of the step", {
  found <- cnn()
  for (i in 1:2) {
    at <- found$trace$arrays[[i]]
    expect_equal(at[["loss/total"]], found$plain$losses[[c(1L, 3L)[[i]]]], tolerance = 0)
    expect_identical(at[["forward/features.3"]] != 0,
                     at[["draw/features.3"]] != 0 & at[["forward/features.2"]] != 0)
    scale <- 1 / 0.75
    expect_equal(at[["forward/dropout"]], at[["forward/flatten"]] * at[["draw/dropout"]] * scale,
                 tolerance = 1e-6)
    linear <- at[["forward/dropout"]] %*% t(at[["start/out.weight"]])
    linear <- sweep(linear, 2L, at[["start/out.bias"]], `+`)
    expect_equal(at[["forward/out"]], linear, tolerance = 1e-5)
    p <- exp(linear) / rowSums(exp(linear))
    p[cbind(1:6, at[["forward/randint"]])] <- p[cbind(1:6, at[["forward/randint"]])] - 1
    expect_equal(at[["gradient/out"]], p / 6, tolerance = 1e-4)
    expect_equal(at[["gradient/out.bias"]], colSums(p) / 6, tolerance = 1e-4)
  }
})

test_that("the optimiser's settings, state, clipped gradient and update are there", {
  trace <- cnn()$trace
  optimiser <- trace$steps[[2L]]$optimiser
  expect_identical(optimiser$kind, "sgd")
  expect_equal(optimiser$groups[[1L]]$settings[c("lr", "momentum")], list(lr = 0.1, momentum = 0.9))
  expect_identical(unlist(optimiser$groups[[1L]]$parameters), c(
    "features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias", "out.weight",
    "out.bias"))
  at <- trace$arrays[[2L]]
  given <- at[["given/out.bias"]]
  expect_lt(sqrt(sum(given^2)), sqrt(sum(at[["gradient/out.bias"]]^2)))
  buffer <- 0.9 * at[["before/out.bias.momentum_buffer"]] + given
  expect_equal(at[["state/out.bias.momentum_buffer"]], buffer, tolerance = 1e-6)
  expect_equal(at[["parameter/out.bias"]], at[["start/out.bias"]] - 0.1 * buffer, tolerance = 1e-6)
  expect_false("before/out.bias.momentum_buffer" %in% names(trace$arrays[[1L]]))
  mean <- apply(at[["forward/features.0"]], 2L, mean)
  expect_equal(at[["buffer/features.1.running_mean"]],
               0.9 * at[["start/features.1.running_mean"]] + 0.1 * mean, tolerance = 1e-4)
  expect_identical(at[["buffer/features.1.num_batches_tracked"]],
                   at[["start/features.1.num_batches_tracked"]] + 1)
})

test_that("a gradient that is changed before the second of two optimisers is told", {
  folder <- tempfile("two")
  with_torch(arguments = list(folder = folder), {
    torch_manual_seed(1)
    model <- nn_sequential(nn_linear(3, 4), nn_linear(4, 2))
    both <- list(optim_sgd(model[[1]]$parameters, lr = 0.1),
                 optim_sgd(model[[2]]$parameters, lr = 0.1))
    record(model, both, folder, steps = 1)
    model(torch_randn(5, 3))$pow(2)$sum()$backward()
    both[[1]]$step()
    with_no_grad(model[[2]]$weight$grad$add_(1e-3))
    both[[2]]$step()
  })
  found <- read_program(folder)
  expect_true(found$complete)
  one <- found$arrays[[1L]]
  two <- found$arrays[[2L]]
  expect_false("gradient/1.weight" %in% names(one))
  expect_equal(two[["given/1.weight"]], two[["gradient/1.weight"]] + 1e-3, tolerance = 1e-6)
})
