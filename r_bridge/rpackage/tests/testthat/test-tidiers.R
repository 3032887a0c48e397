test_that("they are the generics of the package generics", {
  for (name in c("tidy", "glance", "augment", "fit")) {
    expect_identical(getExportedValue("pyvae", name), getExportedValue("generics", name))
  }
})

test_that("tidy() has a row for each latent dimension, with and without Python", {
  fit <- small_fit()
  found <- tidy(fit)
  mu <- fit$latent_means$evaluation
  expect_identical(found$term, c("z1", "z2", "z3", "z4"))
  expect_equal(found$variance, unname(apply(mu, 2, function(z) mean((z - mean(z))^2))))
  expect_identical(found$active, found$variance > 0.01)
  expect_identical(sum(found$active), summary(fit)$active_units)
  all <- tidy(fit, noise_images)
  mu <- predict(fit, noise_images)
  log_var <- predict(fit, noise_images, type = "log_var")
  expect_equal(all$kl, unname(colMeans((mu^2 + exp(log_var) - log_var - 1) / 2)), tolerance = 1e-5)
  expect_equal(all$sd, unname(colMeans(exp(log_var / 2))), tolerance = 1e-6)
  old <- fit
  old$dimensions <- NULL
  expect_match(refusal(tidy(old)), "earlier version.*tidy\\(fit, x\\)")
  expect_match(refusal(tidy(fit, "digits")), "must be images or a path")
})

test_that("the KL of all dimensions is the regulariser of the loss", {
  fit <- watched_fit()
  expect_equal(sum(tidy(fit, noise_images[fit$held_out, , ])$kl),
               utils::tail(fit$validation$regulariser, 1), tolerance = 1e-5)
})

test_that("glance() is one row, which can be bound to others", {
  fits <- list(small_fit(), small_fit("emae"), watched_fit())
  rows <- do.call(rbind, lapply(fits, glance))
  expect_identical(rows$objective, c("vae", "emae", "beta"))
  for (i in seq_along(fits)) {
    last <- utils::tail(as.data.frame(fits[[i]], by = "epoch"), 1)
    expect_equal(rows$loss[[i]], last[[loss_column(fits[[i]])]])
    expect_equal(rows$active_units[[i]], summary(fits[[i]])$active_units)
    expect_equal(rows$parameters[[i]], summary(fits[[i]])$parameters)
  }
  expect_equal(rows$nats_per_image, c(rows$loss[1:2], NA))
  expect_equal(rows$loss[1:2], (rows$reconstruction + rows$regulariser)[1:2], tolerance = 1e-6)
  held_out <- fits[[3L]]$validation
  expect_identical(rows$validation, c(NA, NA, held_out$total[[3L]]))
  expect_identical(rows$best_epoch, c(NA, NA, held_out$epoch[[which.min(held_out$total)]]))
  expect_identical(rows$epochs, c(2L, 2L, 3L))
  expect_identical(rows$steps, c(4L, 4L, 9L))
  expect_identical(rows$nobs, c(40L, 40L, 30L))
  expect_true(all(rows$seconds > 0))
})

test_that("augment() has latents beside the data, and reconstructions if they are asked for", {
  fit <- small_fit()
  mu <- predict(fit, noise_images)
  of_array <- augment(fit, noise_images)
  expect_identical(names(of_array), c("image", ".z1", ".z2", ".z3", ".z4"))
  expect_identical(of_array$image, 1:40)
  expect_identical(as.matrix(of_array[-1]), `colnames<-`(mu, paste0(".", colnames(mu))))
  frame <- as.data.frame(as_rows(noise_images))
  frame$V1 <- as.integer(frame$V1)
  row.names(frame) <- sprintf("digit%d", 1:40)
  found <- augment(fit, frame, reconstruction = TRUE)
  expect_identical(found[names(frame)], frame)
  expect_identical(row.names(found), row.names(frame))
  expect_identical(unname(as.matrix(found[paste0(".z", 1:4)])), unname(mu))
  expect_identical(unname(found$.fitted),
                   as_rows(predict(fit, noise_images, type = "reconstruction")))
  of_array <- augment(fit, noise_images, reconstruction = TRUE)
  expect_identical(unname(of_array$.fitted), unname(found$.fitted))
  of_matrix <- augment(fit, as_rows(noise_images))
  expect_identical(dim(of_matrix), c(40L, 788L))
  expect_match(refusal(augment(fit)), "data.* is missing")
  expect_match(refusal(augment(fit, matrix(0, 2, 3))), "data.* must be a matrix with 784 columns")
})

test_that("augment() of a clustering recipe has the most probable cluster", {
  skip_without_python()
  points <- data.frame(x = rnorm(40), y = rnorm(40))
  fit <- vae_fit(points, recipe = "clustering-toy", batch_size = 20, steps = 1, seed = 1)
  found <- augment(fit, points)
  shares <- predict(fit, points, type = "cluster")
  expect_identical(found$.cluster, max.col(shares, "first"))
  expect_identical(names(found)[1:2], c("x", "y"))
  expect_true(all(is.finite(tidy(fit)$kl)))
})

test_that("files are augmented by the number of the image", {
  fit <- small_fit()
  rds <- tempfile(fileext = ".rds")
  saveRDS(noise_images, rds)
  expect_identical(augment(fit, rds), augment(fit, noise_images))
})

test_that("fit() trains for more epochs", {
  longer <- fit(watched_fit(), noise_images, epochs = 1)
  expect_identical(max(longer$history$epoch), 4L)
  expect_identical(longer$history[1:9, ], watched_fit()$history)
})
