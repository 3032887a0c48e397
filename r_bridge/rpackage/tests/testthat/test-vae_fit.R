test_that("a fit is the fit that Python makes with the same seed, to the last bit", {
  skip_without_python()
  images <- tempfile(fileext = ".npz")
  save_images(images, read_images(noise_images), NULL)
  folder <- tempfile()
  run_pyvae("train", "conv", "--data", images, "--objective", "both", "--epochs", "2",
            "--batch-size", "20", "--latent-dim", "4", "--seed", "3", "--device", "cpu",
            "--out", folder)
  for (objective in c("vae", "emae")) {
    trace <- read_trace(file.path(folder, objective))
    fit <- small_fit(objective)
    expect_identical(as_run(fit)$losses, trace$losses)
    expect_identical(fit$history$epoch, trace$epochs)
    expect_identical(coef(fit), trace$parameters)
    expect_identical(lapply(fit$latent_means, unname)[names(trace$latent_means)],
                     trace$latent_means)
    expect_identical(colnames(fit$latent_means$training), c("z1", "z2", "z3", "z4"))
    expect_identical(as_rows(fit$samples), trace$samples)
  }
})

test_that("it is plain R: nothing in it points into Python", {
  plain <- function(x) {
    typeof(x) %in% c("logical", "integer", "double", "character", "raw", "NULL", "symbol",
                     "language") || (is.list(x) && all(vapply(x, plain, NA)))
  }
  expect_true(plain(unclass(small_fit())))
})

test_that("its history has a row for each step, counted from 1", {
  fit <- small_fit()
  expect_identical(fit$history$step, 1:4)
  expect_identical(fit$history$epoch, c(1L, 1L, 2L, 2L))
  expect_equal(fit$history$total, fit$history$reconstruction + fit$history$regulariser,
               tolerance = 1e-6)
  expect_equal(fit$history$nats_per_image, fit$history$total / 20)
  expect_identical(dim(fit$samples), c(16L, 28L, 28L))
  expect_identical(dim(fit$latent_means$training), c(20L, 4L))
  expect_false(fit$interrupted)
})

test_that("set.seed() makes a fit reproducible, and seeds differ without it", {
  skip_without_python()
  fit <- function() vae_fit(noise_images, latent_dim = 2, batch_size = 20, epochs = 1, steps = 1)
  set.seed(4)
  one <- fit()
  other <- fit()
  set.seed(4)
  again <- fit()
  expect_identical(again$seed, one$seed)
  expect_identical(again$history, one$history)
  expect_identical(again$parameters, one$parameters)
  expect_false(identical(other$seed, one$seed))
  expect_false(identical(other$parameters, one$parameters))
})

test_that("a matrix, an array, bytes, and pixels from 0 to 255 or 0 to 1 are the same images", {
  skip_without_python()
  loss <- function(x) {
    vae_fit(x, recipe = "beta", batch_size = 20, epochs = 1, steps = 1, seed = 1,
            dtype = "float64")$history$total
  }
  expected <- loss(noise_images)
  matrix <- as_rows(noise_images)
  expect_identical(loss(matrix), expected)
  expect_identical(loss(array(as.raw(matrix), dim(matrix))), expected)
  expect_identical(loss(noise_images / 255), expected)
})

test_that("every recipe can be fitted, with its own published settings", {
  skip_without_python()
  x <- noise_images[1:20, , ]
  points <- matrix(rnorm(40), 20)
  for (recipe in setdiff(recipe_names, "conv")) {
    toy <- recipe == "clustering-toy"
    labels <- if (recipe == "clustering-semi-supervised") rep(0:9, 2)
    hyper <- if (!is.null(labels)) list(labels = 10) else list()
    fit <- vae_fit(if (toy) points else x, recipe = recipe, batch_size = 10, steps = 1, seed = 1,
                   labels = labels, hyper = hyper)
    published <- answer(python()$describe(recipe))
    expect_equal(fit$settings$latent_dim, published$latent_dim)
    expect_equal(fit$settings$learning_rate, published$learning_rate)
    expect_equal(fit$objective, published$objectives[[1L]])
    expect_output(print(fit), recipe, fixed = TRUE)
    expect_output(print(summary(fit)), "active of")
    expect_identical(dim(predict(fit, if (toy) points else x)),
                     c(20L, as.integer(published$latent_dim)))
    expect_identical(dim(generate(fit, 3)), if (toy) c(3L, 2L) else c(3L, 28L, 28L))
    expect_equal(utils::tail(fit$history, 1L)[[loss_column(fit)]],
                 as.data.frame(fit, by = "epoch")[[loss_column(fit)]])
  }
})

test_that("a share is held out and validated after every epoch, and the rest is trained on", {
  fit <- watched_fit()
  expect_length(fit$held_out, 10)
  expect_identical(fit$validation$epoch, 1:3)
  expect_equal(fit$validation$total,
               fit$validation$reconstruction + 0.001 * fit$validation$regulariser, tolerance = 1e-6)
  expect_identical(as.data.frame(fit, by = "epoch")$validation, fit$validation$total)
  expect_identical(nobs(fit), 30L)
  said <- utils::capture.output(print(fit), print(summary(fit)))
  expect_match(said, "held out .* after epoch 3, on 10 images", all = FALSE)
  alone <- vae_fit(noise_images[-fit$held_out, , ], recipe = "beta", epochs = 3, batch_size = 10,
                   seed = 3, device = "cpu", latent_dim = 3,
                   validation = noise_images[fit$held_out, , ])
  expect_identical(alone$history, fit$history)
  expect_identical(alone$parameters, fit$parameters)
  expect_identical(alone$validation, fit$validation)
  expect_null(alone$held_out)
  expect_null(small_fit()$validation)
})

test_that("training ends early where the validation does not get better", {
  skip_without_python()
  fit <- function(...) {
    vae_fit(noise_images, recipe = "beta", batch_size = 10, seed = 3, device = "cpu",
            learning_rate = 0.05, validation = 0.25, ...)
  }
  early <- fit(epochs = 300, patience = 2)
  best <- which.min(early$validation$total)
  expect_identical(nrow(early$validation), best + 2L)
  expect_identical(early$ended, "early")
  expect_false(early$interrupted)
  expect_output(print(early), "then no better validation.*best after epoch")
  expect_identical(fit(epochs = best)$history, early$history[early$history$epoch <= best, ])
})

test_that("validation and patience that cannot be are refused in a line", {
  expect_match(refusal(vae_fit(noise_images, validation = 1)), "validation.* above 0 and below 1")
  expect_match(refusal(vae_fit(noise_images, validation = TRUE)), "validation.* share .*It is TRUE")
  expect_match(refusal(vae_fit(noise_images, validation = matrix(0, 2, 3))),
               "validation.* must be a matrix with 784 columns")
  expect_match(refusal(vae_fit(noise_images, patience = 2)), "patience.* needs .*validation = 0.1")
  expect_match(refusal(vae_fit(noise_images, validation = 0.1, patience = 0)), "patience.* from 1")
})

test_that("what Python refuses is one message in R's words", {
  skip_without_python()
  x <- noise_images
  expect_match(refusal(vae_fit(x, epochs = 1)),
               "40 images are fewer than one batch of 250.*batch_size 40")
  expect_match(refusal(vae_fit(x, recipe = "clustering-toy")), "points in the plane")
  expect_match(refusal(vae_fit(matrix(0.5, 9, 2), batch_size = 2)), "28x28")
  expect_match(refusal(vae_fit(x, recipe = "clustering", hyper = list(temperature = 0))),
               "hyper = list\\(temperature = 0\\)")
  expect_match(refusal(vae_fit(x, recipe = "clustering", hyper = list(heat = 1))),
               "no setting \"heat\".*It has .*temperature")
  expect_match(refusal(vae_fit(x, recipe = "clustering-semi-supervised", batch_size = 20)),
               "labels")
  expect_match(refusal(vae_fit(x, device = "cuda", batch_size = 20)), "no NVIDIA GPU")
})

test_that("training that diverges ends in one message", {
  skip_without_python()
  expect_match(refusal(vae_fit(noise_images, learning_rate = 1e30, batch_size = 20, epochs = 3)),
               "diverged.*smaller learning_rate")
})

test_that("it is silent when it is not asked to speak, and speaks when it is", {
  skip_without_python()
  fit <- function(verbose) {
    vae_fit(noise_images, batch_size = 20, epochs = 1, latent_dim = 2, seed = 1, verbose = verbose)
  }
  expect_silent(fit(FALSE))
  said <- cli::ansi_strip(paste(cli::cli_fmt(fit(TRUE)), collapse = "\n"))
  expect_match(said, "VAE on 40 images (R), 2 steps of 20, cpu: BCE + KL", fixed = TRUE)
  expect_match(said, "epoch 1: [0-9.]+ nats per image")
})

test_that("what had to be taken instead is said even to who wants silence", {
  said <- cli::ansi_strip(paste(cli::cli_fmt(
    training_progress(FALSE)(list(event = "start", notes = list("using {digits} instead")))),
    collapse = "\n"))
  expect_match(said, "using {digits} instead", fixed = TRUE)
})

test_that("Ctrl-C ends training and returns what was trained until then", {
  skip_without_python()
  fit <- with_ctrl_c(2, {
    vae_fit(noise_images, epochs = 5000, batch_size = 20, latent_dim = 3, seed = 1)
  })
  expect_s3_class(fit, "vae_fit")
  expect_true(fit$interrupted)
  steps <- nrow(fit$history)
  expect_gt(steps, 1)
  expect_lt(steps, 10000)
  expect_identical(dim(fit$latent_means$evaluation), c(20L, 3L))
  expect_output(print(fit), "then interrupted")
  whole <- vae_fit(noise_images, epochs = 5000, steps = steps, batch_size = 20, latent_dim = 3,
                   seed = 1)                                       # no step was left half done
  expect_identical(fit$history, whole$history)
  expect_identical(fit$parameters, whole$parameters)
  expect_false(whole$interrupted)
})

test_that("from the trained state a few steps give digits, and a trace says so", {
  skip_without_python()
  fit <- function(...) {
    vae_fit(noise_images, batch_size = 4, epochs = 1, steps = 1, seed = 1, verbose = FALSE, ...)
  }
  trained <- fit(start = "trained")
  deviation <- function(fit) max(apply(fit$samples, 2:3, sd))
  expect_gt(deviation(trained), 0.2)
  expect_lt(deviation(fit()), 0.05)
  expect_equal(trained$start$name, "trained")
  expect_output(print(trained), "start     the parameters after .* steps of mnist")
  expect_length(fit()$start, 0)
  folder <- tempfile()
  write_trace(folder, trained)
  expect_identical(read_trace(folder)$start, trained$start)
  expect_match(refusal(fit(start = "trained", latent_dim = 3)), "no trained state of recipe conv")
  expect_match(refusal(fit(start = "final")), "must be one of")
})
