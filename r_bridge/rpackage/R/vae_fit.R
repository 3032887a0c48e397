#' Fit a variational autoencoder
#'
#' Trains the network of a published write-up with PyTorch and returns a plain R list. A fit can be
#' saved with [saveRDS()], and printed, plotted and inspected in a session without Python.
#'
#' The default is the network of the R article "VAE and EMAE": two convolutions, max-pooling and
#' dropout, and 1x1 transposed convolutions as decoder. Its losses are sums over images and pixels
#' in nats:
#'
#' - `vae`: BCE - 1/2 sum(1 + log_var - mu^2 - exp(log_var))
#' - `emae`: BCE + 1/2 sum(mu^2), the VAE's without the entropy term, as the article prints it
#'
#' `seed` determines the initial parameters, the order of the images, the dropout masks and the
#' noise: `pyvae train` with the same seed and number of threads has the same history, bit for bit.
#'
#' Ctrl-C ends the training; the fit then holds the training so far (`fit$interrupted`).
#'
#' @param x Images: a matrix with 784 columns (a row for each image, pixel by pixel along the rows
#'   of the image), or an array of n x 28 x 28 (`x[i, row, column]`). Whole numbers (integer, raw) are
#'   pixels from 0 to 255, doubles from 0 to 1 (otherwise see `scale`). Or a path: an `.npz` file
#'   (with `images`, and `labels` if there are any), an `.rds` file, or a folder with MNIST's
#'   `train-images-idx3-ubyte`. Or a name: `"mnist"`, `"fashion-mnist"`, `"kmnist"` (downloaded if
#'   needed), `"digits"` (1,797 digits from scikit-learn), `"auto"` (MNIST if it is available, else
#'   the digits), `"toy"` (points, for the recipe `"clustering-toy"`, which takes matrices with 2
#'   columns).
#' @param objective The objective to minimise; by default the first one published for the recipe.
#' @param recipe The write-up: `"conv"` (the R article), `"mlp"`, `"mlp-wide"`, `"strided-conv"`,
#'   `"beta"`, `"clustering"`, `"clustering-semi-supervised"`, `"clustering-toy"`.
#' @param latent_dim,epochs,batch_size,learning_rate Settings. The defaults are the R article's;
#'   other recipes use their own published settings. The last incomplete batch of an epoch is
#'   dropped.
#' @param seed A whole number; `NULL` draws one with R's generator: [set.seed()] then makes a fit
#'   reproducible.
#' @param device `"auto"` (CUDA if available), `"cpu"` or `"cuda"`.
#' @param verbose Whether to show progress.
#' @param ... Not used; the arguments after it have to be named.
#' @param steps The total number of steps after which the run ends; `NULL` trains all epochs.
#' @param labels Whole numbers from 0, one for each image, for the recipe
#'   `"clustering-semi-supervised"`, which needs them; other recipes do not use them.
#' @param hyper A named list of settings that only this recipe has, such as
#'   `list(temperature = 0.5)`.
#' @param dtype `"float32"` or `"float64"`.
#' @param scale The divisor of the pixels, such as `255` for doubles from 0 to 255. By default the
#'   type decides: whole numbers (integer, raw) are divided by 255, doubles are taken as they are
#'   and have to lie in \[0, 1\]. Whole numbers that are only 0 and 1 need `scale = 1` or
#'   `scale = 255`. The fit keeps the scale, and [predict()] uses it.
#' @param start `"initial"`: start from initial parameters. `"trained"`: start from the parameters of
#'   a VAE trained on MNIST, which come with pyvae for the recipe `"conv"` with 30 latent dimensions:
#'   a few steps then give digits.
#'
#' @returns A list of class `vae_fit`:
#'   - `recipe`, `objective`, `formula`, `settings` (with `seed`), `data`, `environment` (versions
#'     and threads that results depend on), `start` (with `start = "trained"` what it started from)
#'   - `history`: a data frame with a row for each step: `epoch`, `step` (both from 1), the terms
#'     of the loss, and the loss of one image (`nats_per_image`, or `loss` if the objective is not
#'     in nats per image)
#'   - `latent_means`: `training` (dropout on, as in the article's figures) and `evaluation`, each
#'     images of the last batch x latent dimensions
#'   - `samples`: 16 decoded draws from N(0, I), 16 x 28 x 28, pixels from 0 to 1
#'   - for a matrix or an array of images: `scale`, the divisor of the pixels, and `whole`, whether
#'     they were whole numbers
#'   - `parameters`: safetensors, as raw bytes; see [coef.vae_fit()]
#'   - `interrupted`: whether the training was stopped before its end
#' @seealso [predict.vae_fit()], [generate()], [plot.vae_fit()], [compare_with_r()]
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(100 * 28 * 28), c(100, 28, 28))
#' set.seed(1)
#' fit <- vae_fit(x, latent_dim = 5, epochs = 2, batch_size = 20)
#' fit
#' as.data.frame(fit, by = "epoch")
#'
#' \dontrun{
#' # the article: hours on a CPU
#' vae <- vae_fit("mnist", seed = 2)
#' emae <- vae_fit("mnist", "emae", seed = 2)
#' plot(vae, emae)
#' }
vae_fit <- function(x, objective = c("vae", "emae"), recipe = "conv", latent_dim = 30,
                    epochs = 50, batch_size = 250, learning_rate = 1e-3, seed = NULL,
                    device = "auto", verbose = interactive(), ..., steps = NULL, labels = NULL,
                    hyper = list(), dtype = "float32", scale = NULL,
                    start = c("initial", "trained")) {
  call <- match.call()
  here <- environment()
  check_no_more(rlang::exprs(...), "vae_fit", setdiff(names(formals()), "..."))
  if (missing(x)) {
    abort(c("{.arg x} is missing: the images to fit.",
            "i" = "Try {.code vae_fit(\"digits\")} for the digits of scikit-learn."), here)
  }
  recipe <- check_choice(recipe, "recipe", recipe_names)
  given <- list()                                                  # the rest is the recipe's own
  article <- recipe == "conv"
  if (article || !missing(objective)) {
    several <- missing(objective) || identical(objective, c("vae", "emae"))
    given$objective <- if (several) "vae" else check_objective(objective, recipe)
  }
  if (article || !missing(latent_dim)) {
    given$latent_dim <- check_whole(latent_dim, "latent_dim", most = 10000)
  }
  if (article || !missing(epochs)) given$epochs <- check_whole(epochs, "epochs")
  if (article || !missing(batch_size)) given$batch_size <- check_whole(batch_size, "batch_size")
  if (article || !missing(learning_rate)) {
    given$learning_rate <- check_positive(learning_rate, "learning_rate")
  }
  if (!is.null(steps)) given$steps <- check_whole(steps, "steps")
  given$dtype <- check_choice(dtype, "dtype", c("float32", "float64"))
  given$device <- check_choice(device, "device", c("auto", "cpu", "cuda"))
  given$hyper <- check_hyper(hyper, recipe)
  given$recipe <- recipe
  given$start <- check_choice(start, "start", c("initial", "trained"), several = TRUE)
  check_flag(verbose, "verbose")
  images <- read_images(x, scale = scale)
  labels <- check_labels(labels, images, recipe, given$hyper)
  warn_of_black(images)
  given$seed <- settle_seed(seed)
  request <- list(x = images, labels = labels, settings = given)
  result <- where_python_is("train_network", list(request), training_progress(verbose), here)
  fit <- new_vae_fit(result, call)
  fit[c("scale", "whole")] <- images[c("scale", "whole")]
  fit
}
