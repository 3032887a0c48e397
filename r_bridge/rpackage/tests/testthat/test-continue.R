test_that("a fit that goes on is the fit of one longer run, bit for bit", {
  skip_without_python()
  fit <- function(...) {
    vae_fit(noise_images, recipe = "beta", latent_dim = 3, batch_size = 10, seed = 3,
            device = "cpu", validation = 0.25, ...)
  }
  longer <- fit(epochs = 5)
  found <- vae_fit(noise_images, continue = watched_fit(), epochs = 2)
  expect_identical(without_clock(found), without_clock(longer))
  expect_gt(found$seconds, watched_fit()$seconds)
  again <- vae_fit(noise_images, continue = fit(epochs = 1), epochs = 4)
  expect_identical(without_clock(again), without_clock(longer))
})

test_that("so is one of the article's network, after it was saved", {
  skip_without_python()
  file <- tempfile(fileext = ".rds")
  saveRDS(small_fit(), file)
  found <- vae_fit(noise_images, continue = readRDS(file), steps = 1)
  longer <- vae_fit(noise_images, latent_dim = 4, epochs = 3, steps = 5, batch_size = 20, seed = 3,
                    device = "cpu")
  expect_identical(without_clock(found), without_clock(longer))
})

test_that("one that was ended by a callback goes on to its planned end", {
  skip_without_python()
  fit <- function(...) {
    vae_fit(noise_images, recipe = "beta", latent_dim = 3, batch_size = 10, epochs = 2, seed = 3,
            device = "cpu", ...)
  }
  begun <- fit(callbacks = list(on_step = function(now) now$step < 3))
  expect_identical(nrow(begun$history), 3L)
  expect_identical(without_clock(vae_fit(noise_images, continue = begun)), without_clock(fit()))
})

test_that("images for validation may be given anew, and without them the old losses stay", {
  fit <- watched_fit()
  fit$held_out_share <- fit$held_out <- NULL                       # as if they had been given
  x <- noise_images[-watched_fit()$held_out, , ]
  other <- noise_images[watched_fit()$held_out, , ]
  with_them <- vae_fit(x, continue = fit, epochs = 1, validation = other)
  expect_identical(with_them$validation$epoch, 1:4)
  without <- vae_fit(x, continue = fit, epochs = 1)
  expect_identical(without$validation, fit$validation)
  expect_identical(without$history, with_them$history)
  expect_identical(as.data.frame(without, by = "epoch")$validation, c(fit$validation$total, NA))
})

test_that("what cannot go on is refused in a line", {
  fit <- watched_fit()
  go_on <- function(...) refusal(vae_fit(noise_images, continue = fit, ...))
  expect_match(refusal(vae_fit(noise_images, continue = 3)), "continue.* must be a fit.*It is 3")
  expect_match(go_on(batch_size = 5), "batch_size.* cannot be changed")
  expect_match(go_on(seed = 5), "seed.* cannot be changed")
  expect_match(go_on(validation = 0.5), "validation.* cannot be changed")
  expect_match(go_on(), "trained for all its 9 steps.*how many more")
  expect_match(refusal(vae_fit(noise_images / 255, continue = fit, epochs = 1)),
               "not what the fit was trained on.*same images")
  expect_match(refusal(vae_fit(noise_images[40:1, , ], continue = fit, epochs = 1)),
               "not what the fit was trained on")
  fit$optimiser <- NULL
  expect_match(go_on(epochs = 1), "with the optimiser's state")
})
