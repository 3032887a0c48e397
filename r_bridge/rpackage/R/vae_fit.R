#' Fit a variational autoencoder
#'
#' Trains the network of a published write-up with PyTorch. What comes back is a plain R list,
#' without a reference to anything in Python: it can be saved with [saveRDS()] and printed, plotted
#' and looked at in a session that has no Python.
#'
#' The default is the network of the R article "VAE and EMAE": two convolutions, max-pooling and
#' dropout, and 1x1 transposed convolutions as decoder. Its losses are sums over images and pixels
#' in nats:
#'
#' - `vae`: BCE - 1/2 sum(1 + log_var - mu^2 - exp(log_var))
#' - `emae`: BCE + 1/2 sum(mu^2), the VAE's without the entropy term, as the article prints it
#'
#' Initial parameters, the order of the images, dropout masks and noise follow from `seed` alone:
#' the same fit from Python (`pyvae train`) with the same seed has the same history, bit for bit,
#' on the same number of threads.
#'
#' Ctrl-C ends training; the fit then holds what was trained so far (`fit$interrupted`).
#'
#' @param x Images: a matrix with 784 columns (one row an image, pixel by pixel along the rows of
#'   the image), an array of n x 28 x 28 (`x[i, row, column]`); whole numbers (integer, raw) are
#'   pixels from 0 to 255, doubles from 0 to 1 (else see `scale`). Or the path of an `.npz`
#'   file (`images`, and `labels` where there are), of an `.rds` file, or of a folder with MNIST's
#'   `train-images-idx3-ubyte`. Or a name: `"mnist"`, `"fashion-mnist"`, `"kmnist"` (downloaded
#'   where they are not there), `"digits"` (1,797 digits that come with scikit-learn), `"auto"`
#'   (MNIST where it can be had, else the digits), `"toy"` (points, for the recipe
#'   `"clustering-toy"`, which takes matrices with 2 columns).
#' @param objective What is minimised; by default the first that the recipe was published with.
#' @param recipe The write-up: `"conv"` (the R article), `"mlp"`, `"mlp-wide"`, `"strided-conv"`,
#'   `"beta"`, `"clustering"`, `"clustering-semi-supervised"`, `"clustering-toy"`.
#' @param latent_dim,epochs,batch_size,learning_rate Settings. The defaults are the R article's; for
#'   another recipe what is not given is that recipe's published setting. The last incomplete batch
#'   of an epoch is dropped.
#' @param seed A whole number; `NULL` draws one with R's generator, so that [set.seed()] makes a fit
#'   reproducible.
#' @param device `"auto"` (CUDA where it is), `"cpu"` or `"cuda"`.
#' @param verbose Whether to show progress.
#' @param ... Not used; the arguments after it have to be named.
#' @param steps Ends the run after so many steps in all, if not `NULL`.
#' @param labels Whole numbers from 0, one for each image, for the recipe
#'   `"clustering-semi-supervised"`, which needs them; the others use none.
#' @param hyper A named list of what a recipe alone has, such as `list(temperature = 0.5)`.
#' @param dtype `"float32"` or `"float64"`.
#' @param scale What the pixels are divided by, such as `255` for doubles from 0 to 255. By default
#'   the type decides: whole numbers (integer, raw) are divided by 255, doubles are taken as they
#'   are and have to lie in \[0, 1\]. Whole numbers of which none is above 1 may be either, and need
#'   `scale = 1` or `scale = 255`. The fit keeps it, and [predict()] uses it.
#'
#' @returns A list of class `vae_fit`:
#'   - `recipe`, `objective`, `formula`, `settings` (also `seed`), `data`, `environment` (versions
#'     and threads that the numbers depend on)
#'   - `history`: a data frame with a row for each step: `epoch`, `step` (both from 1), the terms
#'     of the loss, and the loss of one image (`nats_per_image`, or `loss` where the objective is
#'     not in nats per image)
#'   - `latent_means`: `training` (dropout on, as in the article's figures) and `evaluation`, each
#'     images of the last batch x latent dimensions
#'   - `samples`: 16 decoded draws from N(0, I), 16 x 28 x 28, pixels from 0 to 1
#'   - `scale`: what the pixels were divided by, and `whole`, whether they were whole numbers, where
#'     images were given as numbers
#'   - `parameters`: safetensors, as raw bytes; see [coef.vae_fit()]
#'   - `interrupted`: whether it was stopped before its end
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
                    hyper = list(), dtype = "float32", scale = NULL) {
  call <- match.call()
  here <- environment()
  check_no_more(rlang::exprs(...), "vae_fit", setdiff(names(formals()), "..."))
  if (missing(x)) {
    abort(c("{.arg x} is missing: the images to fit.",
            "i" = "{.code vae_fit(\"digits\")} takes the digits that come with scikit-learn."),
          here)
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
