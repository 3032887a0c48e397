# The parts of a fit, and its methods that work without Python.

# As in Python: pyvae/recipes and pyvae/model/objectives.py (a test holds the two together).
recipe_objectives <- list(
  conv = c("vae", "emae", "em"), mlp = "elbo", "mlp-wide" = "elbo", "strided-conv" = "elbo",
  beta = "beta", clustering = "clustering", "clustering-semi-supervised" = "semi-supervised",
  "clustering-toy" = "clustering-points")
recipe_names <- names(recipe_objectives)
objective_names <- unique(unlist(recipe_objectives, use.names = FALSE))
clustering_hyper <- c("clusters", "temperature", "beta")
recipe_hyper <- list(
  beta = "beta", clustering = clustering_hyper,
  "clustering-semi-supervised" = c(clustering_hyper, "labels", "alpha", "labelled_weight"),
  "clustering-toy" = c(clustering_hyper, "variance"))
labelled_recipes <- "clustering-semi-supervised"

# From what Training.finish() of r_bridge/from_r.py returned.
new_vae_fit <- function(result, call) {
  settings <- result$settings
  losses <- unpack(result$losses)
  colnames(losses) <- unlist(result$terms)
  samples <- unpack(result$samples)
  structure(list(
    recipe = result$recipe, objective = settings$objective, title = result$title,
    formula = result$formula, unit = result$unit, mean = result$mean, settings = settings,
    seed = settings$seed, data = result$data, environment = result$environment,
    start = result$start,
    history = history_table(losses, unpack(result$epochs), settings$objective,
                            settings$batch_size, result$mean, result$unit),
    latent_means = lapply(result$latent_means, unpack),
    samples = if (ncol(samples) == image_side^2) as_image_array(samples) else samples,
    parameters = as.raw(result$parameters), interrupted = result$interrupted, call = call),
    class = "vae_fit")
}

# One row for each step. The loss of one image comes last.
history_table <- function(losses, epochs, objective, batch_size, mean, unit) {
  table <- data.frame(objective = objective, epoch = as.integer(epochs),
                      step = seq_along(epochs), losses, stringsAsFactors = FALSE)
  column <- if (identical(unit, "nats per image")) "nats_per_image" else "loss"
  table[[column]] <- if (mean) table$total else table$total / batch_size
  table
}

loss_column <- function(fit) utils::tail(names(fit$history), 1L)

#' Convert the history of a fit to a data frame
#'
#' @param x A fit from [vae_fit()].
#' @param row.names,optional As in [as.data.frame()]; `optional` is not used.
#' @param by `"step"`: one row for each step. `"epoch"`: one row for each epoch, with the number of
#'   steps; terms are sums over the epoch's batches, as the R article prints the total (means if the
#'   objective is a mean over the images of a batch).
#' @param ... Not used; other arguments are an error.
#' @returns A data frame with `objective`, `epoch`, `step` (or `steps`), `total`, `reconstruction`,
#'   `regulariser`, further terms of the objective, and the loss of one image (`nats_per_image`, or
#'   `loss` if it is not in nats per image).
#' @export
as.data.frame.vae_fit <- function(x, row.names = NULL, optional = FALSE, ...,
                                  by = c("step", "epoch")) {
  check_no_more(rlang::exprs(...), "as.data.frame", c("row.names", "optional", "by"),
                but = "stringsAsFactors")
  by <- check_choice(by, "by", c("step", "epoch"), several = TRUE)
  table <- if (by == "step") x$history else epoch_table(x)
  if (!is.null(row.names)) row.names(table) <- row.names
  table
}

epoch_table <- function(fit) {
  history <- fit$history
  column <- loss_column(fit)
  terms <- setdiff(names(history), c("objective", "epoch", "step", column))
  steps <- as.vector(rowsum(rep(1, nrow(history)), history$epoch))
  sums <- rowsum(as.matrix(history[terms]), history$epoch)
  if (fit$mean) sums <- sums / steps
  table <- data.frame(objective = fit$objective, epoch = as.integer(rownames(sums)),
                      steps = as.integer(steps), sums, row.names = NULL, stringsAsFactors = FALSE)
  table[[column]] <- if (fit$mean) table$total else {
    table$total / (steps * fit$settings$batch_size)
  }
  table
}

#' Print or summarise a fit
#'
#' @param x,object A fit from [vae_fit()], or its summary.
#' @param ... Not used; other arguments are an error.
#' @returns `summary()` returns a list of class `summary.vae_fit`: the last epoch's losses, the number
#'   parameters, and for each latent dimension the standard deviation of its means over the images
#'   of the last batch, in evaluation mode, the largest first; `active_units` counts dimensions
#'   whose means have a variance above 0.01 (Burda, Grosse & Salakhutdinov, 2016, "Importance
#'   weighted autoencoders", section 5.2). `print()` returns its argument, invisibly.
#' @name print.vae_fit
NULL

#' @rdname print.vae_fit
#' @export
print.vae_fit <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  last <- utils::tail(epoch_table(x), 1L)
  settings <- x$settings
  cat(x$title, ", recipe ", x$recipe, ": ", counted(settings$latent_dim, "latent dimension"),
      "\n  loss      ", x$formula,
      "\n  trained   ", counted(nrow(x$history), "step"), " of ", settings$batch_size, ", ",
      counted(last$epoch, "epoch"), ", on ", counted(x$data$images, "image"), " (", x$data$name,
      ")", if (x$interrupted) ", then interrupted",
      if (length(x$start)) paste0("\n  start     ", x$start$title),
      "\n  last      ", in_unit(x, last[[loss_column(x)]]), ", mean over epoch ", last$epoch,
      "\n  seed      ", format(x$seed), ", ", settings$dtype, ", ", x$environment$device,
      ", PyTorch ", x$environment$torch, "\n", sep = "")
  invisible(x)
}

# On what scale the terms of an epoch are.
scale_in_words <- function(fit) {
  if (!fit$mean) return(paste0("sums over its batches", if (nzchar(fit$unit)) ", in nats"))
  paste0("means over its batches", if (nzchar(fit$unit)) paste0(", in ", fit$unit))
}

in_unit <- function(fit, loss) {
  if (nzchar(fit$unit)) paste(format(round(loss, 3L), nsmall = 3L), fit$unit)
    else format(loss, digits = 5L)
}

#' @rdname print.vae_fit
#' @export
summary.vae_fit <- function(object, ...) {
  check_no_more(rlang::exprs(...), "summary", character())
  spread <- apply(object$latent_means$evaluation, 2L, function(mu) sqrt(mean((mu - mean(mu))^2)))
  structure(list(
    fit = object[c("recipe", "objective", "title", "formula", "unit", "mean", "settings", "seed",
                   "data", "environment", "history", "interrupted")],
    last_epoch = utils::tail(epoch_table(object), 1L),
    parameters = sum(lengths(coef.vae_fit(object))),
    images = nrow(object$latent_means$evaluation),
    spread = sort(spread, decreasing = TRUE), active_units = sum(spread^2 > 0.01)),
    class = "summary.vae_fit")
}

#' @rdname print.vae_fit
#' @export
print.summary.vae_fit <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  print.vae_fit(x$fit)
  last <- x$last_epoch
  terms <- setdiff(names(last), c("objective", "epoch", "steps", loss_column(x$fit)))
  cat("\nEpoch ", last$epoch, " (", counted(last$steps, "step"), ", ", scale_in_words(x$fit),
      "):\n", sep = "")
  print(as.data.frame(lapply(last[terms], thousands, digits = 8L)), row.names = FALSE)
  cat("\n", counted(x$parameters, "parameter"), "; ", x$active_units, " active of ",
      counted(length(x$spread), "latent dimension"), " (variance of their means above 0.01 over ",
      counted(x$images, "image"), " of the last batch).\nStandard deviation of the means of each",
      " dimension, largest first:\n", sep = "")
  print(signif(x$spread, 3L))
  invisible(x)
}

#' Extract the parameters of a fit
#'
#' @param object A fit from [vae_fit()].
#' @param ... Not used; other arguments are an error.
#' @returns A named list of arrays. Names, such as `encoder.conv1.weight`, and the order of indices
#'   are those of PyTorch: `w[2, 1, 3, 3]` in R is `w[1, 0, 2, 2]` in Python.
#' @export
coef.vae_fit <- function(object, ...) {
  check_no_more(rlang::exprs(...), "coef", character())
  read_safetensors(object$parameters)
}
