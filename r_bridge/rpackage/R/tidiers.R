# The verbs of the package generics, in the manner of broom.

#' @importFrom generics tidy
#' @export
generics::tidy

#' @importFrom generics glance
#' @export
generics::glance

#' @importFrom generics augment
#' @export
generics::augment

#' @importFrom generics fit
#' @export
generics::fit

#' What each latent dimension carries
#'
#' A row for each latent dimension, without dropout. `tidy()` is the generic of the package generics,
#' which broom exports, too.
#'
#' @param x A fit from [vae_fit()].
#' @param newdata The images that are looked at, as for [predict.vae_fit()], which needs Python; by
#'   default the last batch of the training, which does not.
#' @param ... Not used; other arguments are an error.
#' @param scale As for [predict.vae_fit()].
#' @returns A data frame with a row for each latent dimension: `term` (`z1`, `z2`, ...); `kl`, the
#'   divergence of the posterior from the prior, the mean over images in nats (their sum is the VAE's
#'   regulariser; the prior is N(0, 1), or p(z|y) for a clustering recipe); `variance` of the
#'   posterior means over images; `sd`, the mean of the posterior's standard deviations; and
#'   `active`, whether the variance is above 0.01 (Burda, Grosse & Salakhutdinov, 2016, "Importance
#'   weighted autoencoders", section 5.2).
#' @seealso [glance.vae_fit()], [augment.vae_fit()], [summary()][summary.vae_fit()]
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' fit <- vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 10, seed = 1)
#' tidy(fit)
#' tidy(fit, x)
tidy.vae_fit <- function(x, newdata = NULL, ..., scale = NULL) {
  here <- environment()
  check_no_more(rlang::exprs(...), "tidy", c("newdata", "scale"))
  if (is.null(newdata)) {
    if (!is.null(x$dimensions)) return(x$dimensions)
    abort(c("This fit is of an earlier version, which did not measure its latent dimensions.",
            "i" = "Pass images: {.code tidy(fit, x)}."), here)
  }
  recipe <- recipe_of_fit(x)
  images <- new_images(x, newdata, "newdata", scale, recipe, here)
  dimension_table(where_python_is("measure_dimensions",
                                  list(as_model(x, recipe), for_python(images)), call = here))
}

measure_dimensions <- function(model, images, progress, call) {
  answer(python(call)$dimensions(model, images), call)
}

least_variance <- 0.01                                             # of an active unit

# From what Python measured.
dimension_table <- function(measured) {
  kl <- unpack(measured$kl)
  variance <- unpack(measured$variance)
  data.frame(term = latent_names(length(kl)), kl = kl, variance = variance,
             sd = unpack(measured$sd), active = variance > least_variance,
             stringsAsFactors = FALSE)
}

#' A fit in one row
#'
#' @param x A fit from [vae_fit()].
#' @param ... Not used; other arguments are an error.
#' @returns A data frame with one row: `recipe`, `objective`; of the last epoch the terms of the loss
#'   for one image, the mean over the epoch: `loss` (the total), `reconstruction`, `regulariser`;
#'   `nats_per_image`, the loss again, or `NA` if it is not in nats per image; `validation`, the loss
#'   of one held-out image after the last epoch, and `best_epoch`, whose validation was the best
#'   (`NA` without validation); `epochs`, `steps`, `nobs` (images trained on), `latent_dim`,
#'   `active_units` (see [tidy.vae_fit()]), `parameters` (their number), and `seconds` of training.
#' @seealso [tidy.vae_fit()], [augment.vae_fit()]
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' fits <- lapply(1:2, function(seed) {
#'   vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 10, seed = seed, validation = 0.2)
#' })
#' do.call(rbind, lapply(fits, glance))
glance.vae_fit <- function(x, ...) {
  check_no_more(rlang::exprs(...), "glance", character())
  last <- utils::tail(epoch_table(x), 1L)
  images <- if (x$mean) 1 else last$steps * x$settings$batch_size
  in_nats <- loss_column(x) == "nats_per_image"
  held_out <- x$validation$total
  data.frame(
    recipe = x$recipe, objective = x$objective, loss = last$total / images,
    reconstruction = last$reconstruction / images, regulariser = last$regulariser / images,
    nats_per_image = if (in_nats) last$total / images else NA_real_,
    validation = if (length(held_out)) utils::tail(held_out, 1L) else NA_real_,
    best_epoch = if (length(held_out)) x$validation$epoch[[which.min(held_out)]] else NA_integer_,
    epochs = last$epoch, steps = nrow(x$history), nobs = nobs.vae_fit(x),
    latent_dim = as.integer(x$settings$latent_dim), active_units = active_units(x),
    parameters = sum(lengths(coef.vae_fit(x))), seconds = x$seconds %||% NA_real_,
    stringsAsFactors = FALSE)
}

active_units <- function(fit) {
  mu <- fit$latent_means$evaluation
  sum(colMeans(sweep(mu, 2L, colMeans(mu))^2) > least_variance)
}

#' Latents and reconstructions beside the images
#'
#' Needs Python (see [pyvae_sitrep()]).
#'
#' @param x A fit from [vae_fit()].
#' @param data Images as for [predict.vae_fit()].
#' @param ... Not used; other arguments are an error.
#' @param reconstruction Whether to add the reconstructions.
#' @param scale As for [predict.vae_fit()].
#' @returns A data frame with a row for each image. First `data` itself, if it is a matrix or a data
#'   frame; of an array or a path `image`, the number of the image. Then the posterior means `.z1`,
#'   `.z2`, ..., for a clustering recipe `.cluster`, the most probable one, from 1, and with
#'   `reconstruction = TRUE` the column `.fitted`: a matrix with a row for each image, pixel by pixel
#'   along the rows of the image, from 0 to 1.
#' @seealso [tidy.vae_fit()], [glance.vae_fit()]
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' fit <- vae_fit(x, latent_dim = 2, epochs = 1, batch_size = 10, seed = 1)
#' latents <- augment(fit, x)
#' plot(.z2 ~ .z1, latents)
augment.vae_fit <- function(x, data, ..., reconstruction = FALSE, scale = NULL) {
  here <- environment()
  check_no_more(rlang::exprs(...), "augment", c("data", "reconstruction", "scale"))
  check_flag(reconstruction, "reconstruction")
  if (missing(data)) {
    abort(c("{.arg data} is missing.",
            "i" = "Pass the images: a fit does not keep those that it was trained on."), here)
  }
  recipe <- recipe_of_fit(x)
  images <- new_images(x, data, "data", scale, recipe, here)
  clusters <- startsWith(x$recipe, "clustering")
  types <- c("latent", if (clusters) "cluster", if (reconstruction) "reconstruction")
  found <- where_python_is("predict_several", list(as_model(x, recipe), types, for_python(images)),
                           call = here)
  found <- lapply(found, unpack)
  rows <- length(dim(data)) == 2L
  table <- if (is.data.frame(data)) data else if (rows) as.data.frame(data)
    else data.frame(image = seq_len(nrow(found$latent)))
  if (!rows && !is.null(images$rows)) row.names(table) <- images$rows
  table[paste0(".", latent_names(ncol(found$latent)))] <- as.data.frame(found$latent)
  if (clusters) table$.cluster <- max.col(found$cluster, "first")
  if (reconstruction) {
    table$.fitted <- if (rows) in_shape_of(found$reconstruction, images, recipe$shape)
      else found$reconstruction
  }
  table
}

predict_several <- function(model, types, images, progress, call) {
  names(types) <- types
  lapply(types, function(type) predict_images(model, type, images, progress, call))
}

#' Train a fit for more epochs
#'
#' The same as `vae_fit(x, continue = object, ...)`. `fit()` is the generic of the package generics,
#' which the packages of tidymodels export, too.
#'
#' @param object A fit from [vae_fit()].
#' @param x The images that it was trained on.
#' @param ... Passed to [vae_fit()], such as `epochs`: how many more.
#' @returns A fit, as [vae_fit()] returns it.
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' one <- vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 10, seed = 1)
#' three <- fit(one, x, epochs = 2)
#' as.data.frame(three, by = "epoch")
fit.vae_fit <- function(object, x, ...) vae_fit(x, ..., continue = object)
