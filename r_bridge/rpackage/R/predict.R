#' What a fitted network makes of images
#'
#' Needs Python (see [pyvae_sitrep()]); the network is in evaluation mode, without dropout.
#'
#' @param object A fit of [vae_fit()].
#' @param newdata Images as [vae_fit()] takes them, an array, a matrix or a path, but for names of
#'   data sets.
#' @param type `"latent"`: posterior means. `"reconstruction"`: these means decoded. `"cluster"`:
#'   probabilities of the clusters, of a fit of a clustering recipe.
#' @param ... Not used; other arguments are refused.
#' @param scale What the pixels are divided by. By default as in the fit, where they are of the same
#'   type as the images that it was trained on, else by type, as [vae_fit()] does it.
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
            "i" = "A fit does not keep the images that it was trained on."), here)
  }
  images <- read_images(newdata, "newdata", scale, object[c("scale", "whole")])
  if (!is.null(images$data) && images$data %in% data_names) {
    abort(c("{.arg newdata} must be images or a path.", "x" = "It is {.val {newdata}}."), here)
  }
  found <- unpack(where_python_is("predict_images", list(as_model(object), type, images),
                                  call = here))
  as_array <- images$array %||% TRUE
  if (type == "reconstruction" && as_array && ncol(found) == image_side^2) as_image_array(found)
    else found
}

predict_images <- function(model, type, images, tell, call) {
  answer(python(call)$predict(model, type, images), call)
}

# What Python needs to build the network again.
as_model <- function(fit) {
  settings <- fit$settings
  list(parameters = fit$parameters, recipe = fit$recipe, objective = fit$objective,
       latent_dim = settings$latent_dim, dtype = settings$dtype,
       hyper = stats::setNames(as.list(settings$hyper), names(settings$hyper) %||% character()))
}
