# The decoder of `conv` in base R, from the parameters alone.
decode_in_r <- function(parameters, z) {
  affine <- function(x, name) {
    w <- parameters[[paste0("decoder.", name, ".weight")]]
    b <- parameters[[paste0("decoder.", name, ".bias")]]
    # a linear layer's weight is (outputs, inputs), a 1x1 transposed convolution's the other way
    if (length(dim(w)) == 4L) w <- t(w[, , 1L, 1L])
    sweep(x %*% t(w), 2L, b, "+")
  }
  relu <- function(x) pmax(x, 0)
  h <- relu(affine(z, "fc1"))
  h <- relu(affine(h, "fc2"))
  h <- relu(affine(h, "conv1"))
  as_image_array(1 / (1 + exp(-affine(h, "conv2"))))
}

test_that("latents are decoded as base R decodes them from coef()", {
  skip_without_python()
  fit <- vae_fit(noise_images, latent_dim = 4, batch_size = 20, steps = 1, seed = 3,
                 dtype = "float64", device = "cpu")
  z <- matrix(rnorm(3 * 4), 3)
  expect_equal(generate(fit, z = z), decode_in_r(coef(fit), z), tolerance = 1e-14)
})

test_that("set.seed() decides what is generated", {
  fit <- small_fit()
  set.seed(1)
  one <- generate(fit, 5)
  set.seed(1)
  expect_identical(generate(fit, 5), one)
  expect_false(identical(generate(fit, 5), one))
  expect_identical(dim(one), c(5L, 28L, 28L))
  set.seed(1)
  z <- matrix(rnorm(20), 5)
  expect_identical(generate(fit, z = z), one)
})

test_that("simulate() follows stats::simulate(): seed and the generator's state", {
  fit <- small_fit()
  set.seed(9)
  state <- .Random.seed
  found <- simulate(fit, 2, seed = 5)
  expect_identical(.Random.seed, state)
  expect_equal(as.vector(attr(found, "seed")), 5)
  set.seed(5)
  expect_equal(array(found, dim(found)), generate(fit, 2))
  set.seed(9)
  expect_identical(attr(simulate(fit, 1), "seed"), state)
})

test_that("it is the generic of the package generics, whichever is loaded last", {
  expect_identical(pyvae::generate, generics::generate)
  found <- in_session(function(fit) {
    library(pyvae)
    library(generics)
    tryCatch(generate(fit, 0), error = conditionMessage)
  }, list(small_fit()))
  expect_match(in_one_line(found), "n.* whole number from 1")         # our method's own refusal
})

test_that("what cannot be generated is one message", {
  fit <- small_fit()
  expect_match(refusal(generate(fit, 0)), "n.* whole number from 1")
  expect_match(refusal(generate(fit, z = matrix(0, 2, 3))), "z.*4 columns.*matrix of 2 x 3")
  expect_match(refusal(generate(fit, z = c(1, 2, 3, 4))), "vector of length 4")
  expect_match(refusal(generate(fit, z = matrix(c(0, NA, 0, 0), 1))), "z\\[1, 2\\].* is NA")
})
