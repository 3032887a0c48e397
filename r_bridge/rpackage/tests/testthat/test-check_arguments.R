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
  expect_match(refusal(vae_fit(x, device = "tpu")), "device.*cpu")
  expect_match(refusal(vae_fit(x, verbose = NA)), "verbose.*TRUE.*FALSE")
  expect_match(refusal(vae_fit(x, steps = list())), "steps.*list of 0")
  expect_match(refusal(vae_fit(x, dtype = "half")), "dtype.*float32")
  expect_match(refusal(vae_fit(x, hyper = list(1))), "hyper.*named list")
  expect_match(refusal(vae_fit(x, hyper = c(a = NA))), "hyper.*named list")
})

test_that("a name that is nearly right gets a proposal: case, letters exchanged, another's word", {
  meant <- function(...) {
    sub('.*Did you mean "(.*)"[?].*', "\\1", refusal(vae_fit(...)))
  }
  expect_equal(meant(noise_images, recipe = "clusterin"), "clustering")
  expect_equal(meant(noise_images, "VAE"), "vae")
  expect_equal(meant(noise_images, "vea"), "vae")
  expect_equal(meant(noise_images, device = "gpu"), "cuda")
  expect_equal(meant(noise_images, dtype = "double"), "float64")
  expect_equal(meant("mnsit"), "mnist")
  expect_equal(meant("Fashion MNIST"), "fashion-mnist")
  expect_false(grepl("Did you mean", refusal(vae_fit(noise_images, "something"))))
})

test_that("an objective is one of the recipe's", {
  expect_match(refusal(vae_fit(noise_images, "x")), "objective.*\"vae\", \"emae\", and \"em\"\\. ")
  expect_match(refusal(vae_fit(noise_images, "elbo")), "\"conv\" has no objective \"elbo\"")
})

test_that("choices are named, and may be begun, as with match.arg()", {
  fit <- structure(list(), class = "vae_fit")
  expect_match(refusal(plot(fit, type = "losses")), "type.* must be one of .*Did you mean \"loss\"")
  expect_match(refusal(as.data.frame(fit, by = "day")), "by.* must be one of")
  expect_match(refusal(install_pyvae(".", method = "conda")), "method.* must be one of")
  expect_equal(check_choice("lat", "type", c("loss", "latent"), several = TRUE), "latent")
  expect_equal(check_choice(c("a", "b"), "x", c("a", "b"), several = TRUE), "a")
  expect_match(refusal(check_choice("l", "type", c("loss", "latent"), several = TRUE)), "It is")
})

test_that("arguments that do not exist are refused by every method", {
  fit <- structure(list(), class = "vae_fit")
  expect_match(refusal(vae_fit(noise_images, passes = 1)), "no argument `?passes")
  expect_match(refusal(generate(fit, nn = 3)), "no argument `?nn.*Did you mean `?n`?\\?")
  expect_match(refusal(predict(fit, noise_images, kind = "x")), "no argument `?kind.*newdata")
  expect_match(refusal(simulate(fit, 2, sed = 1)), "Did you mean `?seed")
  methods <- grep("[.](vae_fit|pyvae_[a-z]+)$", ls(asNamespace("pyvae")), value = TRUE)
  expect_gt(length(methods), 12)
  for (name in methods) {
    method <- get(name, asNamespace("pyvae"))
    expect_match(refusal(method(fit, surprise = 1)), "surprise", info = name)
  }
  expect_equal(ncol(data.frame(read_comparison_example())), 8)     # passes stringsAsFactors on
})

test_that("vae_fit() without images says so", {
  expect_match(refusal(vae_fit()), "x.* is missing.*vae_fit\\(\"digits\"\\)")
  expect_match(refusal(vae_fit(continue = 1)), "x.* is missing.*was trained on.*fit\\(object, x")
})

test_that("labels are one whole number for each image", {
  refused <- function(labels, x = noise_images, recipe = "clustering-semi-supervised", ...) {
    refusal(vae_fit(x, labels = labels, recipe = recipe, ...))
  }
  expect_match(refused(1:3), "labels.*40 whole numbers.*length 3")
  expect_match(refused(c(1:39, NA)), "labels\\[40\\].*NA")
  expect_match(refused(c(-1, 2:40)), "labels\\[1\\].*-1")
  expect_match(refused(1:3, "digits"), "Leave .*labels.* out")
  expect_match(refused(NULL), "needs .*labels.*one for each image")
  expect_match(refused(rep(0:9, 4), recipe = "conv"), "\"conv\" does not use .*labels")
})

test_that("what is said to do about labels can be done", {
  known <- rep(0:9, 4)
  for (labels in list(factor(known), factor(letters[known + 1L]), known + 1L)) {
    said <- refusal(check_labels(labels, list(dim = list(40L, 784L)), "clustering-semi-supervised",
                                 list()))
    code <- sub(".*Use `(.*)`.*", "\\1", said)
    expect_identical(as.integer(eval(parse(text = code))), known, info = code)
  }
  expect_match(refusal(check_labels(known + 1L, list(dim = list(40L)), "clustering-semi-supervised",
                                    list())), "start at 1")
  from_1 <- pack(1:10)
  expect_identical(check_labels(1:10, list(dim = list(10L)), "clustering-semi-supervised",
                                list(clusters = 11)), from_1)
})

test_that("things are called what they are", {
  expect_equal(in_words(factor(c("a", "b"))), "a factor with 2 levels")
  expect_equal(in_words(data.frame(a = 1:3)), "a data frame of 3 x 1")
  expect_equal(in_words(matrix(0, 2, 3)), "a matrix of 2 x 3")
  expect_equal(in_words(matrix(NA, 2, 3)), "a matrix of 2 x 3 of type logical")
  expect_equal(in_words(1:2), "an integer vector of length 2")
  expect_equal(in_words(c(1, 2)), "a numeric vector of length 2")
  expect_equal(in_words(array(0, 2:4)), "an array of 2 x 3 x 4")
  expect_equal(in_words("{x}"), "\"{x}\"")
  expect_equal(in_words(NULL), "NULL")
  expect_equal(counted(1, "step"), "1 step")
  expect_equal(counted(1797, "image"), "1,797 images")
})
