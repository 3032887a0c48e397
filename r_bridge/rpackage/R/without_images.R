#' What a fit knows of its data, and what it does not
#'
#' A fit does not keep the images that it was trained on: for `fitted()` and `residuals()` pass them.
#' Both need Python then (see [pyvae_sitrep()]).
#'
#' The likelihood of a variational autoencoder has no closed form, and its loss is only a bound of
#' it (of some objectives not even that): `logLik()`, and with it `AIC()` and `BIC()`, is refused.
#' The loss is in [glance.vae_fit()].
#'
#' @param object A fit from [vae_fit()].
#' @param newdata Images as for [predict.vae_fit()].
#' @param ... Not used; other arguments are an error.
#' @param scale As for [predict.vae_fit()].
#' @returns `nobs()`: the number of images trained on, without those that were held out. `fitted()`:
#'   the reconstructions, as `predict(type = "reconstruction")`. `residuals()`: the images, with
#'   pixels from 0 to 1, minus their reconstructions.
#' @name nobs.vae_fit
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' fit <- vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 10, seed = 1)
#' nobs(fit)
#' mean(residuals(fit, x)^2)
NULL

#' @rdname nobs.vae_fit
#' @importFrom stats nobs
#' @export
nobs.vae_fit <- function(object, ...) {
  check_no_more(rlang::exprs(...), "nobs", character())
  as.integer(object$data$images)
}

#' @rdname nobs.vae_fit
#' @importFrom stats fitted
#' @export
fitted.vae_fit <- function(object, newdata, ..., scale = NULL) {
  check_no_more(rlang::exprs(...), "fitted", c("newdata", "scale"))
  need_images(missing(newdata), "fitted")
  predict.vae_fit(object, newdata, "reconstruction", scale = scale)
}

#' @rdname nobs.vae_fit
#' @importFrom stats residuals
#' @export
residuals.vae_fit <- function(object, newdata, ..., scale = NULL) {
  here <- environment()
  check_no_more(rlang::exprs(...), "residuals", c("newdata", "scale"))
  need_images(missing(newdata), "residuals")
  again <- predict.vae_fit(object, newdata, "reconstruction", scale = scale)
  if (is.character(newdata)) {
    abort(c("{.fn residuals} needs a matrix, a data frame or an array.",
            "x" = "{.arg newdata} is {.val {newdata}}."), here)
  }
  images <- read_images(newdata, "newdata", scale, object[c("scale", "whole")], here,
                        recipe_of_fit(object)$shape)
  rows <- unpack(images)
  if (is.raw(rows)) rows <- array(as.integer(rows) / 255, dim(rows))
  in_shape_of(rows, images, recipe_of_fit(object)$shape) - again
}

need_images <- function(are_missing, name, call = rlang::caller_env()) {
  if (!are_missing) return(invisible())
  abort(c("{.fn {name}} needs images: a fit does not keep those that it was trained on.",
          "i" = "Use {.code {name}(fit, x)}."), call)
}

#' @rdname nobs.vae_fit
#' @importFrom stats logLik
#' @export
logLik.vae_fit <- function(object, ...) {
  here <- environment()
  check_no_more(rlang::exprs(...), "logLik", character())
  abort(paste("{.fn logLik} of a variational autoencoder has no closed form; its loss is in",
              "{.fn glance}."), here)
}
