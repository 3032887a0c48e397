test_that("latent means are those of the run's own last batch", {
  skip_without_python()
  x <- noise_images
  fit <- vae_fit(x, latent_dim = 3, batch_size = 40, epochs = 1, seed = 2, dtype = "float64")
  found <- predict(fit, x)                                         # the batch is all images, mixed
  expected <- fit$latent_means$evaluation
  sorted <- function(mu) mu[order(mu[, 1L]), ]
  expect_equal(sorted(found), sorted(expected), tolerance = 1e-12)
  expect_identical(predict(fit, as_rows(x)), found)
  expect_identical(predict(fit, x / 255), found)
  one <- predict(fit, x[5, , , drop = FALSE])
  expect_equal(one, found[5, , drop = FALSE], tolerance = 1e-12)
})

test_that("reconstructions have the shape of the images, and are decoded latent means", {
  fit <- small_fit()
  again <- predict(fit, noise_images, type = "reconstruction")
  expect_identical(dim(again), dim(noise_images))
  expect_true(all(again >= 0 & again <= 1))
  expect_identical(again, generate(fit, z = predict(fit, noise_images)))
  rows <- predict(fit, as_rows(noise_images), type = "reconstruction")
  expect_identical(rows, as_rows(again))
})

test_that("the posterior has means, deviations, variances and draws", {
  fit <- small_fit()
  x <- noise_images[1:6, , ]
  mu <- predict(fit, x)
  deviation <- predict(fit, x, type = "latent_sd")
  log_var <- predict(fit, x, type = "log_var")
  expect_identical(colnames(mu), c("z1", "z2", "z3", "z4"))
  expect_identical(dimnames(log_var), dimnames(mu))
  expect_equal(deviation, exp(log_var / 2))
  set.seed(8)
  drawn <- predict(fit, x, type = "sample")
  set.seed(8)
  expect_equal(drawn, mu + deviation * rnorm(length(mu)))
  set.seed(8)
  expect_identical(predict(fit, x, type = "sample"), drawn)
  expect_false(identical(predict(fit, x, type = "sample"), drawn))
})

test_that("names of rows and columns are kept, of arrays, matrices and data frames", {
  fit <- small_fit()
  x <- noise_images[1:3, , ]
  dimnames(x) <- list(c("a", "b", "c"), NULL, NULL)
  plain <- predict(fit, unname(x))
  expect_null(rownames(plain))
  found <- predict(fit, x)
  expect_identical(rownames(found), c("a", "b", "c"))
  expect_identical(unname(found), unname(plain))
  again <- predict(fit, x, type = "reconstruction")
  expect_identical(dimnames(again)[[1L]], c("a", "b", "c"))
  rows <- as_rows(unname(x))
  dimnames(rows) <- list(c("a", "b", "c"), sprintf("pixel%d", 1:784))
  expect_identical(predict(fit, rows), found)
  frame <- as.data.frame(rows)
  expect_identical(predict(fit, frame), found)
  by_row <- predict(fit, frame, type = "reconstruction")
  expect_identical(dimnames(by_row), dimnames(rows))
  expect_identical(unname(by_row), as_rows(unname(again)))
  row.names(frame) <- NULL
  expect_null(rownames(predict(fit, frame)))
})

test_that("a fit of a clustering recipe knows clusters, others say that they do not", {
  skip_without_python()
  fit <- vae_fit(matrix(rnorm(80), 40), recipe = "clustering-toy", batch_size = 20, steps = 1)
  shares <- predict(fit, matrix(rnorm(20), 10), type = "cluster")
  expect_identical(dim(shares), c(10L, 3L))
  expect_identical(colnames(shares), c("cluster1", "cluster2", "cluster3"))
  expect_equal(rowSums(shares), rep(1, 10), tolerance = 1e-6)
  expect_match(refusal(predict(small_fit(), noise_images, type = "cluster")),
               "Recipe conv has no clusters.*latent")
})

test_that("what is predicted of an image does not depend on the others, nor on the way it came", {
  fit <- small_fit()                                               # of whole numbers
  x <- noise_images
  dark <- x
  dark[1, , ] <- dark[1, , ] %% 2L                                 # one image of 0 and 1 of 255
  expect_equal(predict(fit, dark)[1, , drop = FALSE], predict(fit, dark[1, , , drop = FALSE]),
               tolerance = 1e-5)
  expect_identical(predict(fit, x / 255), predict(fit, x))
  expect_identical(fit$scale, 255)
  of_doubles <- vae_fit(x + 0, latent_dim = 4, epochs = 2, batch_size = 20, seed = 3,
                        device = "cpu", scale = 255)
  expect_identical(of_doubles$history, fit$history)
  expect_identical(predict(of_doubles, x + 0), predict(fit, x))
  expect_identical(predict(of_doubles, x), predict(fit, x))
  expect_match(refusal(predict(of_doubles, x / 255)), "divided by 255.*scale = 1.*scale = 255")
  expect_identical(predict(of_doubles, x / 255, scale = 1), predict(fit, x))
})

test_that("files are predicted as the arrays in them, and reconstructed as images", {
  fit <- small_fit()
  file <- function(kind) tempfile(fileext = kind)
  npz <- file(".npz")
  save_images(npz, read_images(noise_images), NULL)
  rds <- file(".rds")
  saveRDS(noise_images, rds)
  for (path in c(npz, rds)) {
    expect_identical(predict(fit, path), predict(fit, noise_images))
    expect_identical(predict(fit, path, type = "reconstruction"),
                     predict(fit, noise_images, type = "reconstruction"))
  }
  saveRDS(as_rows(noise_images), rds)
  expect_identical(dim(predict(fit, rds, type = "reconstruction")), c(40L, 784L))
  writeLines("none", npz)
  expect_match(refusal(predict(fit, npz)), "[.]npz'")
})

test_that("what cannot be predicted is one message", {
  fit <- small_fit()
  expect_match(refusal(predict(fit)), "newdata.* is missing")
  expect_match(refusal(predict(fit, "digits")), "must be images or a path")
  expect_match(refusal(predict(fit, matrix(0, 2, 3))), "newdata.*784 columns")
  expect_match(refusal(predict(fit, array(NA_real_, c(1, 28, 28)))), "newdata\\[1, 1, 1\\].* is NA")
  expect_match(refusal(predict(fit, matrix(0, 3, 2))), "28x28")
  fit$parameters <- fit$parameters[1:100]
  expect_match(refusal(predict(fit, noise_images)), "parameters cannot be read")
  expect_match(refusal(predict(fit, noise_images, type = "mean")), "type.*latent")
})
