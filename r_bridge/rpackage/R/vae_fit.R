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
#' @param x Images: a matrix or a data frame with 784 columns (a row for each image, pixel by pixel
#'   along the rows of the image), or an array of n x 28 x 28 (`x[i, row, column]`). A recipe of your
#'   own may take images of another size: n x height x width, and with several channels
#'   n x height x width x channels. Whole numbers (integer, raw) are
#'   pixels from 0 to 255, doubles from 0 to 1 (otherwise see `scale`). Or a path: an `.npz` file
#'   (with `images`, and `labels` if there are any), an `.rds` file, or a folder with MNIST's
#'   `train-images-idx3-ubyte`. Or a name: `"mnist"`, `"fashion-mnist"`, `"kmnist"` (downloaded if
#'   needed), `"digits"` (1,797 digits from scikit-learn), `"auto"` (MNIST if it is available, else
#'   the digits), `"toy"` (points, for the recipe `"clustering-toy"`, which takes matrices with 2
#'   columns).
#' @param objective The objective to minimise; by default the first one published for the recipe.
#' @param recipe The write-up: `"conv"` (the R article), `"mlp"`, `"mlp-wide"`, `"strided-conv"`,
#'   `"beta"`, `"clustering"`, `"clustering-semi-supervised"`, `"clustering-toy"`. Or one of your
#'   own, a Python file: see [use_recipe()].
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
#' @param validation Images that are not trained on, whose loss is computed after every epoch, in
#'   evaluation mode: the share of `x` to hold out, such as `0.1` (chosen at random, with `seed`), or
#'   other images.
#' @param patience Ends the training when so many epochs have not had a better validation loss. The
#'   fit holds the parameters of the last epoch; trained with the same seed for
#'   `which.min(fit$validation$total)` epochs it is the fit of the best one.
#' @param callbacks A function that is called after every epoch, or
#'   `list(on_step = , on_epoch = )`. It gets a list: `epoch`, `step`, `steps` (of the whole run),
#'   `loss` (the terms for one image, of the step, or the mean over the epoch), and after an epoch
#'   `validation`. If it returns `FALSE`, the training ends there.
#' @param continue A fit to go on from, with the same `x`: `epochs` (or `steps`) then says how many
#'   more, by default as many as the fit had still to do. An epoch that was broken off is ended first,
#'   and counts as one of them. Everything else is the fit's. On the same machine the result is the
#'   fit of one longer run, bit for bit.
#'
#' @returns A list of class `vae_fit`:
#'   - `recipe`, `objective`, `formula`, `settings` (with `seed`), `data`, `environment` (versions
#'     and threads that results depend on), `start` (with `start = "trained"` what it started from)
#'   - `history`: a data frame with a row for each step: `epoch`, `step` (both from 1), the terms
#'     of the loss, and the loss of one image (`nats_per_image`, or `loss` if the objective is not
#'     in nats per image)
#'   - `validation`: `NULL`, or a data frame with a row for each epoch: the terms for one image that
#'     was held out; `held_out`: the rows of `x` that were
#'   - `latent_means`: `training` (dropout on, as in the article's figures) and `evaluation`, each
#'     images of the last batch x latent dimensions
#'   - `dimensions`: what [tidy.vae_fit()] shows
#'   - `samples`: 16 decoded draws from N(0, I), 16 x 28 x 28, pixels from 0 to 1
#'   - for a matrix or an array of images: `scale`, the divisor of the pixels, and `whole`, whether
#'     they were whole numbers
#'   - `parameters`: safetensors, as raw bytes; see [coef.vae_fit()]. `optimiser`: Adam's moments,
#'     for `continue`; set it to `NULL` to make the fit smaller
#'   - `ended`: `"complete"`, `"early"` (by `patience`), `"callback"` or `"interrupted"`;
#'     `interrupted`: whether it is the last; `seconds` of training
#' @seealso [predict.vae_fit()], [generate()], [plot.vae_fit()], [tidy.vae_fit()],
#'   [glance.vae_fit()], [augment.vae_fit()], [compare_with_r()]
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' set.seed(1)
#' fit <- vae_fit(x, latent_dim = 5, epochs = 2, batch_size = 10)
#' fit
#' as.data.frame(fit, by = "epoch")
#'
#' # a share held out, at most 10 epochs, a line of one's own after each
#' early <- vae_fit(x, latent_dim = 5, epochs = 10, batch_size = 10, seed = 1, validation = 0.1,
#'                  patience = 2, callbacks = function(now) message("epoch ", now$epoch))
#' longer <- vae_fit(x, continue = fit, epochs = 1)
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
                    start = c("initial", "trained"), validation = NULL, patience = NULL,
                    callbacks = NULL, continue = NULL) {
  call <- match.call()
  here <- environment()
  check_no_more(rlang::exprs(...), "vae_fit", setdiff(names(formals()), "..."))
  if (missing(x)) {
    hint <- if (is.null(continue)) {
      "Try {.code vae_fit(\"digits\")} for the digits of scikit-learn."
    } else {
      "Give the images that it was trained on: {.code fit(object, x, epochs = 2)}."
    }
    abort(c("{.arg x} is missing: the images to fit.", "i" = hint), here)
  }
  check_flag(verbose, "verbose")
  callbacks <- check_callbacks(callbacks)
  chosen <- mget(c("objective", "latent_dim", "epochs", "batch_size", "learning_rate", "steps",
                   "dtype", "hyper", "start"))
  asked <- names(call)[-1L]
  if (is.null(continue)) {
    recipe <- find_recipe(recipe)
    given <- settings_of(chosen, asked, recipe, here)
  } else {
    check_continue(continue, asked)
    recipe <- recipe_of_fit(continue)
    given <- settings_to_continue(continue, recipe)
  }
  given$device <- check_choice(device, "device", c("auto", "cpu", "cuda"))
  images <- read_images(x, scale = scale, trained = continue[c("scale", "whole")],
                        shape = recipe$shape)
  labels <- check_labels(labels, images, recipe$name, given$hyper)
  warn_of_black(images)
  further <- list(
    validation = check_validation(validation, images, recipe$shape, continue),
    patience = check_patience(patience, validation, continue),
    callbacks = if (length(callbacks)) if (is.null(callbacks$on_step)) "epoch" else "step",
    continued = if (!is.null(continue)) continued_for_python(continue, epochs, steps, asked, here))
  if (is.null(given$seed)) given$seed <- settle_seed(seed)
  request <- list(x = for_python(images), labels = labels, settings = given, further = further)
  show <- training_progress(verbose)
  progress <- function(report) {
    if (report$event == "ask") run_callbacks(callbacks, report, here) else show(report)
  }
  result <- where_python_is("train_network", list(request), progress, here)
  fit <- new_vae_fit(result, call)
  fit[c("scale", "whole")] <- images[c("scale", "whole")]
  if (is.numeric(further$validation)) fit$held_out_share <- further$validation
  if (is.null(continue)) return(fit)
  fit$seconds <- fit$seconds + (continue$seconds %||% 0)
  if (is.null(fit$validation)) fit$validation <- continue$validation
  fit$call <- continue$call
  fit
}

# The settings for Python: what was asked for; of the article's recipe its defaults, too. The others
# have their own.
settings_of <- function(chosen, asked, recipe, call) {
  wants <- function(name) recipe$name == "conv" || name %in% asked
  given <- list()
  if (wants("objective")) {
    several <- !"objective" %in% asked || identical(chosen$objective, c("vae", "emae"))
    given$objective <- if (several) recipe$objectives[[1L]]
      else check_objective(chosen$objective, recipe$name, call = call, known = recipe$objectives)
  }
  if (wants("latent_dim")) {
    given$latent_dim <- check_whole(chosen$latent_dim, "latent_dim", most = 10000, call = call)
  }
  for (name in Filter(wants, c("epochs", "batch_size"))) {
    given[[name]] <- check_whole(chosen[[name]], name, call = call)
  }
  if (wants("learning_rate")) {
    given$learning_rate <- check_positive(chosen$learning_rate, "learning_rate", call)
  }
  if (!is.null(chosen$steps)) given$steps <- check_whole(chosen$steps, "steps", call = call)
  given$dtype <- check_choice(chosen$dtype, "dtype", c("float32", "float64"), call)
  given$hyper <- check_hyper(chosen$hyper, recipe$name, call, recipe$hyper)
  given$recipe <- recipe$asked
  given$start <- check_choice(chosen$start, "start", c("initial", "trained"), call, several = TRUE)
  given
}

# A share, or packed images; NULL without.
check_validation <- function(validation, images, shape, continue, call = rlang::caller_env()) {
  if (is.null(validation)) return(continue$held_out_share)
  if (!is.null(dim(validation)) || is.character(validation)) {
    like_x <- if (is.null(images$data)) images[c("scale", "whole")]
    return(for_python(read_images(validation, "validation", NULL, like_x, call, shape)))
  }
  if (is_number(validation) && validation > 0 && validation < 1) return(as.double(validation))
  abort(c("{.arg validation} must be a share above 0 and below 1, or images.",
          "x" = "It is {in_words(validation)}."), call)
}

check_patience <- function(patience, validation, continue, call = rlang::caller_env()) {
  if (is.null(patience)) return(NULL)
  if (is.null(validation) && is.null(continue$held_out_share)) {
    abort(c("{.arg patience} needs {.arg validation}.",
            "i" = "Use {.code validation = 0.1} to hold a tenth of the images out."), call)
  }
  check_whole(patience, "patience", call = call)
}
