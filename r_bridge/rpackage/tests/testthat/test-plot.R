with_device <- function(code) {
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  force(code)
}

types <- c("loss", "samples", "latent", "spread")

test_that("every figure is drawn, of one fit and of several, and leaves par() as it was", {
  vae <- small_fit()
  emae <- small_fit("emae")
  with_device({
    before <- graphics::par(no.readonly = TRUE)
    for (type in types) {
      expect_silent(plot(vae, type = type))
      expect_silent(shown <- withVisible(plot(vae, emae, type = type)))
      expect_false(shown$visible)
      expect_identical(shown$value, vae)
    }
    after <- graphics::par(no.readonly = TRUE)
    expect_identical(after[c("mfrow", "mar", "las")], before[c("mfrow", "mar", "las")])
  })
})

test_that("what is no fit is refused", {
  fit <- small_fit()
  expect_match(refusal(plot(fit, 3)), "takes further fits.*Argument 2 is 3")
  expect_match(refusal(plot(fit, log = "y")), "takes further fits.*no argument `?log")
  expect_match(refusal(plot(fit, main = 1:3)), "main.* must be one title")
  expect_match(refusal(plot(fit, type = "samples", ylim = 0:1)), "has no axes")
})

test_that("a title and limits are the caller's, where they are given", {
  fit <- small_fit()
  with_device({
    for (type in setdiff(types, "samples")) {
      titles <- if (type == "loss") "one" else c("one", "two")
      expect_silent(plot(fit, fit, type = type, main = titles, ylim = c(0, 5)))
      plot(fit, type = type, main = "mine", ylim = c(0, 5), xlim = c(0, 9))
      expect_equal(graphics::par("usr")[c(3, 4)], c(0, 5), tolerance = 0.1, info = type)
      expect_equal(graphics::par("usr")[[2L]], 9, tolerance = 0.1, info = type)
    }
    expect_silent(plot(fit, type = "samples", main = "mine"))
  })
})

test_that("figures fill the caller's page from left to right, and leave it divided", {
  fit <- small_fit()
  check <- read_comparison_example()
  with_device({
    graphics::par(mfrow = c(3, 3))
    places <- list()
    now <- function() places[[length(places) + 1L]] <<- graphics::par("mfg")[1:2]
    for (type in types) {
      plot(fit, type = type)
      now()
    }
    plot(fit, fit, type = "samples")
    now()
    plot(check)
    now()
    expect_identical(places, list(c(1L, 1L), c(1L, 2L), c(1L, 3L), c(2L, 1L), c(2L, 3L), c(3L, 2L)))
    expect_identical(graphics::par("mfrow"), c(3L, 3L))
  })
})

test_that("a page divided by layout() is filled, too", {
  fit <- small_fit()
  with_device({
    graphics::layout(matrix(1:4, 2))                               # down the columns
    places <- lapply(1:3, function(i) {
      plot(fit, type = "latent", main = "mine", ylim = c(-1, 1))
      graphics::par("mfg")[1:2]
    })
    expect_identical(places, list(c(1L, 1L), c(2L, 1L), c(1L, 2L)))
    plot(fit, fit, type = "spread")                                # on to the next page
    expect_identical(graphics::par("mfg")[1:2], c(1L, 1L))
  })
})

test_that("fits of one objective have their own titles and colours", {
  fit <- small_fit()
  other <- fit
  other$seed <- 9
  other$settings$batch_size <- 5
  expect_equal(fit_titles(list(fit, other, small_fit("emae"))),
               c("VAE, batch 20, seed 3", "VAE, batch 5, seed 9", "EMAE"))
  expect_equal(fit_titles(list(fit, fit)), c("VAE (1)", "VAE (2)"))
  other$recipe <- "mlp"
  expect_match(fit_titles(list(fit, other))[[2L]], "^VAE, mlp, ")
  colours <- vapply(as_runs(rep(list(fit), 5)), function(run) run_style(run)$colour, "")
  expect_length(unique(colours), 5)
})

test_that("the loss is drawn for one image, and on the right as the article sums it", {
  fit <- small_fit()
  by_epoch <- as.data.frame(fit, by = "epoch")
  with_device({
    axes <- draw_loss_history(list(as_run(fit)), "title")
    usr <- graphics::par("usr")[3:4]
  })
  expect_true(all(by_epoch$nats_per_image > usr[[1L]] & by_epoch$nats_per_image < usr[[2L]]))
  covers <- function(axis, values) {
    step <- diff(axis)[[1L]]
    all(values > min(axis) - step & values < max(axis) + step)
  }
  expect_true(covers(axes$left, by_epoch$nats_per_image))
  expect_true(covers(axes$right, by_epoch$total))
  one_epoch <- lapply(as_run(fit), function(x) x)
  one_epoch$epochs[] <- 1L
  with_device(expect_null(draw_loss_history(list(one_epoch), "title")$right))
  expect_equal(loss_label(as_run(fit)), "loss (nats per image)")
  expect_equal(loss_label(list(unit = "")), "loss")
})

test_that("the loss of images that were held out is a line of its own", {
  fit <- watched_fit()
  with_device({
    expect_silent(plot(fit))
    expect_silent(plot(fit, small_fit()))
  })
  run <- as_run(fit)
  expect_identical(run$validation, data.frame(at = 1:3, loss = fit$validation$total))
  expect_null(as_run(small_fit())$validation)
  other <- fit
  other$held_out_share <- 0.5
  expect_equal(fit_titles(list(fit, other)),
               c("beta-VAE, validation 0.25", "beta-VAE, validation 0.5"))
  skip_if_not_installed("ggplot2")
  picture <- ggplot2::autoplot(fit)
  expect_silent(with_device(print(picture)))
  lines <- ggplot2::ggplot_build(picture)$data[[1L]]
  expect_equal(lines$y[lines$linetype == "dotted"], fit$validation$total)
  expect_equal(lines$y[lines$linetype == "solid"], as.data.frame(fit, by = "epoch")$loss)
})

test_that("losses on other scales have axes of their own", {
  skip_without_python()
  mean <- vae_fit(noise_images, recipe = "mlp", batch_size = 20, steps = 2, seed = 1)
  fit <- small_fit()
  expect_identical(by_scale(list(fit, mean, small_fit("emae"))), list(c(1L, 3L), 2L))
  with_device({
    expect_silent(plot(fit, mean))
    expect_silent(plot(fit, mean, main = c("a", "b")))
  })
  skip_if_not_installed("ggplot2")
  expect_match(refusal(ggplot2::autoplot(fit, mean)), "different scales")
})

test_that("what is counted has no halves on its axis, and labels have room", {
  with_device({
    plot(1:2, 1:2, xaxt = "n")
    expect_equal(draw_whole_axis(c(1, 2)), c(1, 2))
    expect_equal(draw_whole_axis(c(1, 3)), c(1, 2, 3))
  })
  expect_equal(whole_breaks(c(0.9, 2.1)), 1:2)
  expect_equal(axis_labels(c(0, 2e-5))$text, c("0e+00", "2e-05"))
  expect_gt(axis_labels(c(0, 0.0005))$room, axis_labels(0:5)$room)
})

test_that("objectives that are means, and points, are drawn, too", {
  skip_without_python()
  mean <- vae_fit(noise_images, recipe = "beta", batch_size = 20, epochs = 2, seed = 1)
  points <- vae_fit(matrix(rnorm(80), 40), recipe = "clustering-toy", batch_size = 20, epochs = 2)
  with_device(for (type in types) {
    expect_silent(plot(mean, type = type))
    expect_silent(plot(points, type = type))
  })
})

test_that("samples lie row by row, upright", {
  images <- array(0, c(4, 28, 28))
  images[2, 1, 28] <- 1                                            # upper right of the second
  canvas <- canvas_of(images)
  expect_identical(dim(canvas), c(57L, 57L))
  expect_identical(which(canvas == 1, arr.ind = TRUE)[1, ], c(row = 1L, col = 57L))
  expect_true(all(is.na(canvas[29, ])) && all(is.na(canvas[, 29])))
})

test_that("samples of other sizes and of colours are drawn", {
  images <- array(runif(4 * 5 * 6 * 3), c(4, 5, 6, 3))
  canvas <- canvas_of(images)
  expect_identical(dim(canvas), c(11L, 13L, 3L))
  expect_identical(canvas[1:5, 8:13, 2], images[2, , , 2])
  expect_equal(canvas_of(images[, , , 1:2])[1:5, 1:6], apply(images[1, , , 1:2], 1:2, mean))
  fit <- small_fit()
  fit$samples <- images
  with_device(expect_silent(plot(fit, type = "samples")))
  skip_if_not_installed("ggplot2")
  with_device(expect_silent(print(ggplot2::autoplot(fit, type = "samples"))))
  pixels <- sample_pixels(fit)
  expect_identical(pixels$pixel[[1L]], do.call(grDevices::rgb, as.list(images[1, 1, 1, ])))
})

test_that("ggplot2's autoplot() draws the same", {
  skip_if_not_installed("ggplot2")
  vae <- small_fit()
  emae <- small_fit("emae")
  with_device(for (type in types) {
    picture <- ggplot2::autoplot(vae, emae, type = type)
    expect_s3_class(picture, "ggplot")
    expect_silent(print(picture))
  })
  expect_match(refusal(ggplot2::autoplot(vae, 3)), "autoplot.*Argument 2 is 3")
  loss <- ggplot2::ggplot_build(ggplot2::autoplot(vae, emae))$data[[1L]]
  expect_setequal(loss$colour, c("firebrick", "steelblue"))
  expect_equal(loss$y[loss$colour == "firebrick"], as.data.frame(vae, by = "epoch")$nats_per_image)
})
