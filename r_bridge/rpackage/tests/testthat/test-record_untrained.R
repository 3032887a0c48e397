# Programs with a teacher: what its parameters were in each step.
programs_with_a_teacher <- function() {
  if (is.null(made$teachers)) {
    made$teachers <- lapply(with_torch({
      net <- nn_module(
        initialize = function() {
          self$fc <- nn_linear(3, 4)
          self$norm <- nn_batch_norm1d(4)
          self$out <- nn_linear(4, 2)
          self$unused <- nn_linear(9, 9)
        },
        forward = function(x) self$out(nnf_relu(self$norm(self$fc(x)))))
      run <- function(follow, use = function(teacher, x) with_no_grad(teacher(x)),
                      training = FALSE) {
        torch_manual_seed(1)
        folder <- tempfile("program", tmpdir = dirname(tempdir()))
        model <- net()
        teacher <- model$clone(deep = TRUE)
        teacher$train(training)
        given <- list()
        optimizer <- optim_sgd(model$parameters, lr = 0.1)
        model <- suppressMessages(record(model, optimizer, folder, steps = 3))
        for (step in 1:3) {
          x <- torch_randn(8, 3)
          given[[step]] <- as_array(teacher$out$weight)
          y <- use(teacher, x)
          optimizer$zero_grad()
          nnf_mse_loss(model(x), y)$backward()
          optimizer$step()
          with_no_grad(follow(teacher, model, step))
        }
        list(folder = folder, given = given)
      }
      moving <- function(teacher, model, step) {
        for (name in names(teacher$parameters)) {
          teacher$parameters[[name]]$lerp_(model$parameters[[name]], 0.1)
        }
      }
      list(moving = run(moving),
           frozen = run(function(teacher, model, step) NULL),
           detached = run(moving, function(teacher, x) teacher(x)$detach()),
           training = run(moving, training = TRUE),
           evaluated = run(moving, function(teacher, x) {
             with_no_grad(teacher(x))
             torch_randn(8, 2)
           }))
    }), function(one) c(read_program(one$folder), given = list(one$given)))
  }
  made$teachers
}

untrained_keys <- function(trace) {
  lapply(trace$arrays, function(step) sort(grep("^untrained/", names(step), value = TRUE)))
}

of_teacher <- function(...) sort(paste0("untrained/teacher/", c(...)))
moved <- c("fc.weight", "norm.bias", "norm.weight", "out.bias", "out.weight")
weights <- c("fc.bias", moved)      # its gradient is nothing but rounding
statistics <- c("norm.running_mean", "norm.running_var")

test_that("a teacher's parameters are recorded as they are when they are used", {
  trace <- programs_with_a_teacher()$moving
  keys <- untrained_keys(trace)
  expect_identical(keys[[1L]], of_teacher(weights, statistics))
  for (step in 2:3) expect_identical(setdiff(keys[[step]], of_teacher("fc.bias")), of_teacher(moved))
  for (step in 1:3) {
    recorded <- trace$arrays[[step]][["untrained/teacher/out.weight"]]
    expect_equal(c(recorded), c(trace$given[[step]]), tolerance = 1e-12)
  }
  inputs <- Filter(function(stage) stage$layer == "input", trace$network)
  marked <- vapply(inputs, function(stage) isTRUE(stage$options$without_gradients), NA)
  expect_identical(sum(marked), 1L)
})

test_that("what does not change is written once", {
  trace <- programs_with_a_teacher()$frozen
  expect_identical(lengths(untrained_keys(trace)), c(8L, 0L, 0L))
})

test_that("a teacher may be called with gradients, if they are cut off", {
  trace <- programs_with_a_teacher()$detached
  expect_identical(lengths(untrained_keys(trace))[[1L]], 8L)
  expect_true(all(of_teacher(moved) %in% untrained_keys(trace)[[2L]]))
})

test_that("statistics that are only updated are left out, and networks that nothing depends on", {
  expect_identical(untrained_keys(programs_with_a_teacher()$training)[[1L]], of_teacher(weights))
  expect_identical(lengths(untrained_keys(programs_with_a_teacher()$evaluated)), c(0L, 0L, 0L))
})
