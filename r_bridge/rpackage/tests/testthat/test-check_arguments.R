test_that("each argument out of its range is one message that names it and what it is", {
  x <- noise_images
  expect_match(refusal(vae_fit(x, latent_dim = 0)),
               "latent_dim.*whole number from 1 to 10000.*It is 0")
  expect_match(refusal(vae_fit(x, latent_dim = 2.5)), "latent_dim.*It is 2.5")
  expect_match(refusal(vae_fit(x, epochs = -1)), "epochs.*It is -1")
  expect_match(refusal(vae_fit(x, epochs = NA)), "epochs.*It is NA")
  expect_match(refusal(vae_fit(x, batch_size = c(1, 2))), "batch_size.*vector of length 2")
  expect_match(refusal(vae_fit(x, batch_size = "50")), "batch_size.*It is \"50\"")
  expect_match(refusal(vae_fit(x, learning_rate = 0)), "learning_rate.*above 0.*It is 0")
  expect_match(refusal(vae_fit(x, learning_rate = Inf)), "learning_rate.*It is Inf")
  expect_match(refusal(vae_fit(x, seed = -3)), "seed.*whole number from 0.*It is -3")
  expect_match(refusal(vae_fit(x, seed = 1e10)), "seed.*2147483647")
  expect_match(refusal(vae_fit(x, device = "gpu")), "device.*cpu")
  expect_match(refusal(vae_fit(x, verbose = NA)), "verbose.*TRUE.*FALSE")
  expect_match(refusal(vae_fit(x, steps = list())), "steps.*list of 0")
  expect_match(refusal(vae_fit(x, dtype = "half")), "dtype.*float32")
  expect_match(refusal(vae_fit(x, hyper = list(1))), "hyper.*named list")
  expect_match(refusal(vae_fit(x, hyper = c(a = NA))), "hyper.*named list")
})

test_that("a name that is nearly right gets a proposal", {
  expect_match(refusal(vae_fit(noise_images, recipe = "clusterin")), "Did you mean .*clustering")
  expect_match(refusal(vae_fit(noise_images, "VAE")), "objective.*vae")
})

test_that("arguments that do not exist are refused", {
  expect_error(vae_fit(noise_images, passes = 1), "passes")
})

test_that("labels are one whole number for each image", {
  x <- noise_images
  expect_match(refusal(vae_fit(x, labels = 1:3)), "labels.*40 whole numbers.*length 3")
  expect_match(refusal(vae_fit(x, labels = factor(1:40))), "as.integer\\(as.character")
  expect_match(refusal(vae_fit(x, labels = c(1:39, NA))), "labels\\[40\\].*NA")
  expect_match(refusal(vae_fit(x, labels = c(-1, 2:40))), "labels\\[1\\].*-1")
  expect_match(refusal(vae_fit("digits", labels = 1:3)), "Leave .*labels.* out")
})

test_that("things are called what they are", {
  expect_equal(in_words(factor(c("a", "b"))), "a factor with 2 levels")
  expect_equal(in_words(data.frame(a = 1:3)), "a data frame of 3 x 1")
  expect_equal(in_words(matrix(0, 2, 3)), "a matrix of 2 x 3")
  expect_equal(in_words(array(0, 2:4)), "an array of 2 x 3 x 4")
  expect_equal(in_words("{x}"), "\"{x}\"")
  expect_equal(in_words(NULL), "NULL")
  expect_equal(counted(1, "step"), "1 step")
  expect_equal(counted(1797, "image"), "1,797 images")
})
