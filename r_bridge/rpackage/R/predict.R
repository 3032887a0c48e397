#' Encode, reconstruct or cluster images with a fit
#'
#' Uses the network in evaluation mode, without dropout. Needs Python (see [pyvae_sitrep()]).
#'
#' @param object A fit from [vae_fit()].
#' @param newdata Images as for [vae_fit()]: an array, a matrix, a data frame or a path, but not the
#'   name of a data set.
#' @param type `"latent"`: posterior means. `"latent_sd"`: the posterior's standard deviations.
#'   `"log_var"`: the logarithms of its variances. `"sample"`: a draw from the posterior of each
#'   image, with R's generator ([set.seed()] repeats it). `"reconstruction"`: the decoded posterior
#'   means. `"cluster"`: the probabilities of the clusters, for a clustering recipe.
#' @param ... Not used; other arguments are an error.
#' @param scale The divisor of the pixels. By default the fit's, if the images are of the same type
#'   as those it was trained on; otherwise the type decides, as for [vae_fit()].
#' @returns `"latent"`, `"latent_sd"`, `"log_var"`, `"sample"`: a matrix, images x latent dimensions
#'   (`z1`, `z2`, ...). `"reconstruction"`: pixels from 0 to 1, in the shape of `newdata`
#'   (n x 28 x 28 for an `.npz` file or a folder; a matrix for a data frame). `"cluster"`: a matrix,
#'   images x clusters (`cluster1`, ...). Row names are those of `newdata`, if it has any.
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' fit <- vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 10, seed = 1)
#' mu <- predict(fit, x)
#' head(mu, 2)
#' again <- predict(fit, x, type = "reconstruction")
#' mean((x - again)^2)
predict.vae_fit <- function(object, newdata, type = c("latent", "reconstruction", "cluster",
                                                      "latent_sd", "log_var", "sample"),
                            ..., scale = NULL) {
  here <- environment()
  check_no_more(rlang::exprs(...), "predict", c("newdata", "type", "scale"))
  type <- check_choice(type, "type", eval(formals(predict.vae_fit)$type), several = TRUE)
  if (missing(newdata)) {
    abort(c("{.arg newdata} is missing.",
            "i" = "Pass the images: a fit does not keep those that it was trained on."), here)
  }
  recipe <- recipe_of_fit(object)
  images <- new_images(object, newdata, "newdata", scale, recipe, here)
  spread <- type %in% c("latent_sd", "log_var", "sample")
  found <- where_python_is("predict_images",
                           list(as_model(object, recipe), if (spread) "posterior" else type,
                                for_python(images)), call = here)
  switch(type,
    reconstruction = in_shape_of(unpack(found), images, recipe$shape),
    cluster = name_clusters(unpack(found), images$rows),
    latent = name_latents(unpack(found), images$rows),
    name_latents(spread_of(found, type), images$rows))
}

predict_images <- function(model, type, images, progress, call) {
  answer(python(call)$predict(model, type, images), call)
}

# Images to predict, as read_images() returns them.
new_images <- function(fit, x, name, scale, recipe, call) {
  images <- read_images(x, name, scale, fit[c("scale", "whole")], call, recipe$shape)
  if (!is.null(images$data) && images$data %in% data_names) {
    abort(c("{.arg {name}} must be images or a path.",
            "x" = "It is {.val {x}}, the name of a data set."), call)
  }
  images
}

spread_of <- function(posterior, type) {
  log_var <- unpack(posterior$log_var)
  if (type == "log_var") return(log_var)
  deviation <- exp(log_var / 2)
  if (type == "latent_sd") return(deviation)
  unpack(posterior$mu) + deviation * stats::rnorm(length(deviation))
}

name_clusters <- function(shares, rows) {
  dimnames(shares) <- list(rows, sprintf("cluster%d", seq_len(ncol(shares))))
  shares
}

# Reconstructions in the shape of the images they are of.
in_shape_of <- function(rows, images, shape) {
  layout <- images$layout %||% "images"                            # of a file
  if (layout == "rows" || length(shape) < 3L || ncol(rows) != prod(shape)) {
    if (!is.null(images$rows) || !is.null(images$columns)) {
      dimnames(rows) <- list(images$rows, images$columns)
    }
    return(rows)
  }
  found <- as_image_array(rows, shape, layout)
  if (layout == "last" && length(dim(found)) == 3L) dim(found) <- c(dim(found), 1L)
  if (!is.null(images$rows)) dimnames(found)[[1L]] <- images$rows
  found
}

# The parts of a fit that Python needs to rebuild the network.
as_model <- function(fit, recipe) {
  settings <- fit$settings
  list(parameters = fit$parameters, recipe = fit$recipe,
       recipe_file = if (is_recipe_file(recipe$asked)) recipe$asked, objective = fit$objective,
       latent_dim = settings$latent_dim, dtype = settings$dtype,
       hyper = stats::setNames(as.list(settings$hyper), names(settings$hyper) %||% character()))
}
