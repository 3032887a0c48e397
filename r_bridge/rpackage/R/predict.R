#' Encode, reconstruct or cluster images with a fit
#'
#' Uses the network in evaluation mode, without dropout. Needs Python (see [pyvae_sitrep()]).
#'
#' @param object A fit from [vae_fit()].
#' @param newdata Images as for [vae_fit()]: an array, a matrix or a path, but not the name of a
#'   data set.
#' @param type `"latent"`: posterior means. `"reconstruction"`: the decoded posterior means.
#'   `"cluster"`: the probabilities of the clusters, for a clustering recipe.
#' @param ... Not used; other arguments are an error.
#' @param scale The divisor of the pixels. By default the fit's, if the images are of the same type
#'   as those it was trained on; otherwise the type decides, as for [vae_fit()].
#' @returns `"latent"`: a matrix, images x latent dimensions. `"reconstruction"`: pixels from 0 to
#'   1, in the shape of `newdata` (n x 28 x 28 for an `.npz` file or a folder). `"cluster"`: a
#'   matrix, images x clusters.
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(100 * 28 * 28), c(100, 28, 28))
#' fit <- vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 20, seed = 1)
#' mu <- predict(fit, x)
#' dim(mu)
#' again <- predict(fit, x, type = "reconstruction")
#' mean((x - again)^2)
predict.vae_fit <- function(object, newdata, type = c("latent", "reconstruction", "cluster"), ...,
                            scale = NULL) {
  here <- environment()
  check_no_more(rlang::exprs(...), "predict", c("newdata", "type", "scale"))
  type <- check_choice(type, "type", c("latent", "reconstruction", "cluster"), several = TRUE)
  if (missing(newdata)) {
    abort(c("{.arg newdata} is missing.",
            "i" = "Pass the images: a fit does not keep those that it was trained on."), here)
  }
  images <- read_images(newdata, "newdata", scale, object[c("scale", "whole")])
  if (!is.null(images$data) && images$data %in% data_names) {
    abort(c("{.arg newdata} must be images or a path.",
            "x" = "It is {.val {newdata}}, the name of a data set."), here)
  }
  found <- unpack(where_python_is("predict_images", list(as_model(object), type, images),
                                  call = here))
  as_array <- images$array %||% TRUE
  if (type == "reconstruction" && as_array && ncol(found) == image_side^2) as_image_array(found)
    else found
}

predict_images <- function(model, type, images, progress, call) {
  answer(python(call)$predict(model, type, images), call)
}

# The parts of a fit that Python needs to rebuild the network.
as_model <- function(fit) {
  settings <- fit$settings
  list(parameters = fit$parameters, recipe = fit$recipe, objective = fit$objective,
       latent_dim = settings$latent_dim, dtype = settings$dtype,
       hyper = stats::setNames(as.list(settings$hyper), names(settings$hyper) %||% character()))
}
