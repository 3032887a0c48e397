# A recipe of colour images, 3 x 6 x 4.
recipe_file <- function() {
  file <- file.path(tempdir(), "small_vae.py")
  writeLines(c(
    "from torch import nn",
    "from pyvae.model.draws import Normal",
    "from pyvae.model.recipe import GaussianVAE, Recipe",
    "",
    "class Encoder(nn.Module):",
    "    def __init__(self, latent_dim):",
    "        super().__init__()",
    "        self.mu, self.log_var = nn.Linear(72, latent_dim), nn.Linear(72, latent_dim)",
    "",
    "    def forward(self, x, draws=None):",
    "        return self.mu(x), self.log_var(x)",
    "",
    "class Decoder(nn.Module):",
    "    def __init__(self, latent_dim):",
    "        super().__init__()",
    "        self.fc, self.sigmoid = nn.Linear(latent_dim, 72), nn.Sigmoid()",
    "",
    "    def forward(self, z, draws=None):",
    "        return self.sigmoid(self.fc(z))",
    "",
    "RECIPE = Recipe(",
    "    name='small', title='A small VAE', source='here',",
    "    network=lambda latent_dim: GaussianVAE(Encoder(latent_dim), Decoder(latent_dim)),",
    "    draws=lambda latent_dim: {'noise': Normal((latent_dim,))},",
    "    objectives=('vae', 'emae'), epochs=2, batch_size=5, latent_dim=3, learning_rate=1e-2,",
    "    shape=(3, 6, 4),",
    ")"), file)
  file
}

test_that("the lists of recipes are those of Python", {
  skip_without_python()
  for (name in recipe_names) {
    found <- answer(python()$describe(name))
    expect_identical(unlist(found$objectives), recipe_objectives[[name]])
    expect_identical(unlist(found$hyper), recipe_hyper[[name]])
  }
})

test_that("a recipe from a file takes images of its own size, and gives such images back", {
  skip_without_python()
  file <- paste0(recipe_file(), ":RECIPE")
  x <- array(runif(20 * 72), c(20, 6, 4, 3))                       # [image, row, column, channel]
  rownames(x) <- sprintf("image%d", 1:20)
  fit <- vae_fit(x, recipe = file, seed = 1, device = "cpu", validation = 0.25)
  expect_identical(fit$recipe, "small")
  expect_identical(fit$objective, "vae")
  expect_identical(fit$shape, c(3L, 6L, 4L))
  expect_identical(nrow(fit$history), 6L)
  expect_identical(dim(fit$samples), c(16L, 6L, 4L, 3L))
  again <- predict(fit, x, type = "reconstruction")
  expect_identical(dim(again), dim(x))
  expect_identical(rownames(again), rownames(x))
  w <- coef(fit)
  flat <- matrix(aperm(x, c(1, 3, 2, 4)), 20)
  mu <- flat %*% t(w$encoder.mu.weight) + rep(w$encoder.mu.bias, each = 20)
  expect_equal(unname(predict(fit, x)), mu, tolerance = 1e-5)
  pixels <- 1 / (1 + exp(-(mu %*% t(w$decoder.fc.weight) + rep(w$decoder.fc.bias, each = 20))))
  expect_equal(unname(again), aperm(array(pixels, c(20, 4, 6, 3)), c(1, 3, 2, 4)), tolerance = 1e-5)
  first <- aperm(x, c(1, 4, 2, 3))                                 # channels first
  expect_identical(predict(fit, first), predict(fit, x))
  expect_identical(predict(fit, first, type = "reconstruction"), aperm(again, c(1, 4, 2, 3)))
  expect_identical(dim(generate(fit, 2)), c(2L, 6L, 4L, 3L))
  expect_identical(dim(tidy(fit, x)), c(3L, 5L))
  longer <- vae_fit(x, continue = fit, epochs = 1)
  expect_identical(longer$history[1:6, ], fit$history)
  grDevices::pdf(NULL)
  for (type in c("loss", "samples", "latent", "spread")) expect_silent(plot(fit, type = type))
  grDevices::dev.off()
  folder <- tempfile()
  write_trace(folder, fit)
  expect_identical(read_trace(folder)$samples, as_rows(fit$samples, fit$shape))
  emae <- vae_fit(x, "emae", recipe = file, seed = 1, steps = 1)
  expect_identical(emae$objective, "emae")
  expect_match(refusal(vae_fit(x, "beta", recipe = file)), "small.* has no objective .*beta")
  expect_match(refusal(vae_fit(noise_images, recipe = file)), "n x 6 x 4 x 3.*40 x 28 x 28")
})

test_that("a file is run only if it was named in the session", {
  skip_without_python()
  file <- paste0(recipe_file(), ":RECIPE")
  x <- array(runif(10 * 72), c(10, 6, 4, 3))
  fit <- vae_fit(x, recipe = file, seed = 1, steps = 1)
  known <- the$recipes
  on.exit(assign("recipes", known, the))
  the$recipes <- NULL
  expect_match(refusal(predict(fit, x)), "not been named in this session.*use_recipe")
  fit$recipe <- file                                               # a fit that names a file
  expect_match(refusal(predict(fit, x)), "not been named in this session")
  fit$recipe <- "small"
  found <- use_recipe(file)
  expect_identical(found$shape, c(3L, 6L, 4L))
  expect_identical(found$objectives, c("vae", "emae"))
  expect_identical(dim(predict(fit, x)), c(10L, 3L))
})

test_that("what is no recipe's file is one message", {
  expect_match(refusal(use_recipe("conv")), "file.* must be .*FILE.py:NAME")
  skip_without_python()
  expect_match(refusal(use_recipe("none.py:RECIPE")), "does not exist")
  expect_match(refusal(use_recipe(paste0(recipe_file(), ":OTHER"))), "OTHER|no object")
})
