# Programs that use a network and train none.

test_that("a step is a call of the network, and no number changes", {
  folder <- tempfile()
  found <- with_torch(arguments = list(folder = folder), {
    made <- function() {
      torch_manual_seed(1)
      nn_sequential(nn_linear(4, 8), nn_batch_norm1d(8), nn_relu(), nn_dropout(0.4), nn_linear(8, 3))
    }
    use <- function(net) {
      lapply(1:3, function(i) {
        y <- nnf_softmax(net(torch_rand(5, 4)), 2)
        as.integer(y$argmax(2))              # how torch makes an array of it is not recorded
        as_array(y)
      })
    }
    one <- made()
    torch_manual_seed(2)
    alone <- with_no_grad(use(one))
    two <- made()
    record(two, NULL, folder, steps = 2)
    torch_manual_seed(2)
    watched <- with_no_grad(use(two))
    list(alone = alone, watched = watched, over = length(pyvae:::session$recordings) == 0L,
         state = all(as.logical(unlist(Map(torch_equal, one$buffers, two$buffers)))))
  })
  expect_identical(found$watched, found$alone)
  expect_true(found$state)
  expect_true(found$over)
  trace <- read_program(folder)
  expect_identical(stage_texts(trace), c(
    "rand: draw()", "0: linear(rand)", "1: batch_norm1d(0)", "2: relu(1)", "3: dropout(2)",
    "4: linear(3)", "softmax: softmax(4)", "argmax: argmax(softmax)"))
  expect_true(trace$complete)
  expect_length(trace$steps, 2L)
  for (i in 1:2) {
    expect_null(trace$steps[[i]]$optimiser)
    expect_identical(trace$steps[[i]]$returned, list("4"))
    expect_equal(trace$arrays[[i]][["forward/softmax"]], found$alone[[i]], tolerance = 1e-6)
    expect_true(all(c("start/0.weight", "draw/3", "buffer/1.running_mean") %in%
                      names(trace$arrays[[i]])))
    expect_false(any(grepl("^(gradient|parameter|loss)/", names(trace$arrays[[i]]))))
  }
})

test_that("a script that trains nothing has its forward passes recorded", {
  script <- function(...) {
    path <- tempfile(fileext = ".R")
    writeLines(c("library(torch)", "torch_manual_seed(1)", ...), path)
    path
  }
  vae <- script(
    "Vae <- nn_module(initialize = function() { self$fc <- nn_linear(4, 3); self$mu <- nn_linear(3, 2) },",
    "  encode = function(x) self$mu(nnf_relu(self$fc(x))), forward = function(x) self$encode(x))",
    "vae <- Vae(); decoder <- nn_sequential(nn_linear(2, 4), nn_sigmoid())",
    "with_no_grad(for (i in 1:2) torch_sum(decoder(vae$encode(torch_ones(3, 4)))))")
  trained <- script(
    "net <- nn_linear(3, 2)", "print(net(torch_ones(2, 3)))",
    "optimizer <- optim_ignite_adam(net$parameters)",
    "for (step in 1:2) { optimizer$zero_grad(); net(torch_randn(4, 3))$sum()$backward(); optimizer$step() }")
  stopped <- script("net <- nn_linear(3, 2)", "y <- net(torch_ones(2, 3))", "stop('mine')")
  tried <- script("net <- nn_linear(3, 2)", "try(net(torch_ones(2, 4)), silent = TRUE)",
                  "y <- net(torch_ones(2, 3))")
  unused <- script("net <- nn_linear(3, 2)", "optimizer <- optim_sgd(net$parameters, lr = 0.1)",
                   "y <- net(torch_ones(2, 3))")
  scripts <- list(vae = vae, trained = trained, stopped = stopped, tried = tried, unused = unused)
  folders <- lapply(scripts, function(script) tempfile())
  said <- with_torch(arguments = list(scripts = scripts, folders = folders), {
    make <- pyvae:::torch_internal("create_nn_module_callable")
    said <- Map(function(script, folder) {
      tryCatch({
        utils::capture.output(suppressMessages(record_script(script, folder)))
        ""
      }, error = function(e) plain_message(e))
    }, scripts, folders)
    restored <- identical(make, pyvae:::torch_internal("create_nn_module_callable")) &&
      is.null(getOption("pyvae.recording")) && !length(pyvae:::session$undo)
    c(said, restored = restored)
  })
  expect_true(said$restored)
  trace <- read_program(folders$vae)
  expect_identical(stage_texts(trace), c(
    "input: input()", "fc: linear(input)", "relu: relu(fc)", "mu: linear(relu)",
    "decoder.0: linear(mu)", "decoder.1: sigmoid(decoder.0)", "sum: sum(decoder.1)"))
  expect_length(trace$steps, 2L)
  expect_identical(vapply(trace$parameters, function(one) one$name, "")[5:6],
                   c("decoder.0.weight", "decoder.0.bias"))
  expect_identical(read_program(folders$trained)$steps[[2L]]$optimiser$kind, "ignite_adam")
  expect_identical(said$stopped, "mine")
  expect_match(read_program(folders$stopped)$ended, "ended with an error")
  expect_length(read_program(folders$tried)$steps, 1L)
  expect_match(said$unused, "step[(][)]` was not called. . Forward passes alone: `record[(]model, NULL")
  expect_false(dir.exists(folders$unused))
})

test_that("gradients of an image and updates by hand are recorded", {
  folders <- c(tempfile(), tempfile())
  with_torch(arguments = list(folders = folders), {
    net <- nn_linear(4, 2)
    record(net, NULL, folders[[1L]])
    net(torch_ones(3, 4, requires_grad = TRUE))[, 2]$sum()$backward()
    stop_recording()
    record(net, NULL, folders[[2L]])
    for (i in 1:2) {
      net$zero_grad()
      net(torch_ones(3, 4))$square()$mean()$backward()
      with_no_grad(for (p in net$parameters) p$sub_(0.1 * p$grad))
    }
    stop_recording()
  })
  image <- read_program(folders[[1L]])$arrays[[1L]]
  expect_equal(image[["gradient/input"]], matrix(image[["start/weight"]][2L, ], 3L, 4L, byrow = TRUE))
  trace <- read_program(folders[[2L]])
  expect_identical(unname(vapply(trace$network, function(stage) stage$layer, "")),
                   c("input", "linear", "square", "mean"))
  for (arrays in trace$arrays) {
    expect_equal(arrays[["parameter/weight"]],
                 arrays[["start/weight"]] - 0.1 * arrays[["gradient/weight"]], tolerance = 1e-6)
  }
})

test_that("start and replay give the bits of another program's passes", {
  folders <- c(tempfile(), tempfile())
  with_torch(arguments = list(folders = folders), {
    use <- function(seed, folder, ...) {
      torch_manual_seed(seed)
      net <- nn_sequential(nn_linear(3, 4), nn_dropout(0.4), nn_linear(4, 2))
      record(net, NULL, folder, ...)
      with_no_grad(for (i in 1:3) {
        noise <- torch_randn(2, 3)                 # before the call that begins the step
        net(noise) + torch_randn(2, 2)
      })
      stop_recording()
    }
    use(1, folders[[1L]])
    use(2, folders[[2L]], start = folders[[1L]], replay = folders[[1L]])
  })
  traces <- lapply(folders, read_program)
  expect_identical(traces[[2L]]$arrays, traces[[1L]]$arrays)
  expect_identical(sum(grepl("draw", stage_texts(traces[[1L]]))), 2L)
})

test_that("a model without parameters is no network", {
  found <- with_torch({
    tryCatch(record(nn_relu(), NULL, tempfile()), error = function(e) plain_message(e))
  })
  expect_match(found, "`model` has no parameters: there is no network to record")
})
