#' What a fitted network makes of images
#'
#' Needs Python (see [pyvae_sitrep()]); the network is in evaluation mode, without dropout.
#'
#' @param object A fit of [vae_fit()].
#' @param newdata Images as [vae_fit()] takes them, but for names of data sets.
#' @param type `"latent"`: posterior means. `"reconstruction"`: these means decoded. `"cluster"`:
#'   probabilities of the clusters, of a fit of a clustering recipe.
#' @param ... Not used.
#' @returns `"latent"`: a matrix, images x latent dimensions. `"reconstruction"`: pixels from 0 to
#'   1, in the shape of `newdata`. `"cluster"`: a matrix, images x clusters.
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(100 * 28 * 28), c(100, 28, 28))
#' fit <- vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 20, seed = 1)
#' mu <- predict(fit, x)
#' dim(mu)
#' again <- predict(fit, x, type = "reconstruction")
#' mean((x - again)^2)
predict.vae_fit <- function(object, newdata, type = c("latent", "reconstruction", "cluster"), ...) {
  here <- environment()
  type <- match.arg(type)
  if (missing(newdata)) {
    abort(c("{.arg newdata} is missing.",
            "i" = "A fit does not keep the images that it was trained on."), here)
  }
  images <- read_images(newdata, "newdata")
  if (!is.null(images$data)) {
    if (images$data %in% data_names) {
      abort(c("{.arg newdata} must be images or a path.", "x" = "It is {.val {newdata}}."), here)
    }
    abort(c("{.arg newdata} must be images, an {.file .rds} file or a folder.",
            "x" = "It is {.file {newdata}}."), here)
  }
  found <- unpack(where_python_is("predict_images", list(as_model(object), type, images),
                                  call = here))
  if (type == "reconstruction" && length(dim(newdata)) == 3L) as_image_array(found) else found
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
