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
  expect_match(refusal(plot(fit, 3)), "Argument 2 is 3")
  expect_match(refusal(plot(fit, main = "title")), "takes further fits")
  expect_error(plot(fit, type = "losses"), "loss")
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
