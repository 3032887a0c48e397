test_that("a saved fit is printed, plotted and tabulated where there is no Python", {
  fit <- small_fit()
  file <- tempfile(fileext = ".rds")
  saveRDS(fit, file)
  there <- in_session(function(file) {
    library(pyvae)
    fit <- readRDS(file)
    grDevices::pdf(NULL)
    for (type in c("loss", "samples", "latent", "spread")) plot(fit, type = type)
    trace <- tempfile()
    write_trace(trace, fit)
    list(printed = utils::capture.output(print(fit), print(summary(fit))),
         table = as.data.frame(fit), epochs = as.data.frame(fit, by = "epoch"),
         parameters = coef(fit), trace = read_trace(trace)$losses,
         predicted = tryCatch(predict(fit, array(0, c(1, 28, 28))),
                              error = function(e) cli::ansi_strip(conditionMessage(e))),
         python = reticulate::py_available())
  }, list(file), without_python)
  expect_identical(there$table, as.data.frame(fit))
  expect_identical(there$epochs, as.data.frame(fit, by = "epoch"))
  expect_identical(there$parameters, coef(fit))
  expect_identical(unname(there$trace), unname(as_run(fit)$losses))
  expect_match(there$printed[[1L]], "VAE, recipe conv: 4 latent dimensions")
  expect_match(in_one_line(there$predicted), "Python was not found.*install_pyvae")
  expect_false(there$python)
})

test_that("epochs are sums over their batches, and means of one image", {
  fit <- small_fit()
  by_epoch <- as.data.frame(fit, by = "epoch")
  expect_identical(by_epoch$epoch, 1:2)
  expect_identical(by_epoch$steps, c(2L, 2L))
  for (term in c("total", "reconstruction", "regulariser")) {
    expect_equal(by_epoch[[term]], as.vector(tapply(fit$history[[term]], fit$history$epoch, sum)))
  }
  expect_equal(by_epoch$nats_per_image, by_epoch$total / 40)
})

test_that("print says what was fitted and on what scale the loss is", {
  said <- capture.output(print(small_fit("emae")))
  expect_match(said[[1L]], "EMAE, recipe conv: 4 latent dimensions")
  expect_match(said[[2L]], "sum\\(mu\\^2\\)/2, summed over pixels and images")
  expect_match(said[[3L]], "4 steps of 20, 2 epochs, on 40 images \\(R\\)")
  expect_match(said[[4L]], "nats per image, mean over epoch 2")
})

test_that("a comma as the decimal mark makes neither warnings nor errors", {
  fit <- small_fit()
  fit$data$images <- 60000L
  fit$history$total <- fit$history$total * 1000
  folder <- tempfile()
  write_trace(folder, fit)
  trace <- read_trace(folder)
  check <- read_comparison_example()
  draws <- structure(list(initial = list(w = 1:1797), steps = list()), class = "pyvae_draws")
  old <- options(OutDec = ",", warn = 2)
  on.exit(options(old))
  said <- utils::capture.output(for (x in list(fit, summary(fit), trace, check, draws)) print(x))
  expect_match(paste(said, collapse = "\n"), "60.000 images", fixed = TRUE)
  expect_match(paste(said, collapse = "\n"), "5,0e-01", fixed = TRUE)
  expect_error(cli::cli_fmt(pyvae_sitrep()), NA)
  grDevices::pdf(NULL)
  for (type in c("loss", "samples", "latent", "spread")) {
    expect_silent(plot(fit, small_fit("emae"), type = type))
    if (requireNamespace("ggplot2", quietly = TRUE)) {
      expect_silent(print(ggplot2::autoplot(fit, small_fit("emae"), type = type)))
    }
  }
  expect_silent(plot(check))
  grDevices::dev.off()
  expect_match(refusal(vae_fit(array(1.5, c(1, 28, 28)))), "is 1.5, and")
  write_trace(folder, fit)
  expect_identical(read_trace(folder), trace)
  predicted <- predict(fit, noise_images)
  options(old)
  expect_identical(predict(fit, noise_images), predicted)
})

test_that("the summary counts parameters and active units", {
  fit <- small_fit()
  found <- summary(fit)
  expect_equal(found$parameters, sum(lengths(coef(fit))))
  mu <- fit$latent_means$evaluation
  variance <- apply(mu, 2, var) * (nrow(mu) - 1) / nrow(mu)
  expect_setequal(names(found$spread), c("z1", "z2", "z3", "z4"))
  expect_equal(found$spread, sort(sqrt(variance), decreasing = TRUE))
  expect_equal(found$active_units, sum(variance > 0.01))
  expect_output(print(found), "2 steps, sums over its batches, in nats")
})

test_that("parameters are arrays with PyTorch's names and order of indices", {
  parameters <- coef(small_fit())
  expect_identical(dim(parameters$encoder.conv1.weight), c(32L, 1L, 3L, 3L))
  expect_identical(dim(parameters$encoder.fc2.weight), c(4L, 128L))
  expect_length(parameters$encoder.fc2.bias, 4)
})
