# The parts of a fit, and its methods that work without Python.

# From what Training.finish() of r_bridge/from_r/training.py returned.
new_vae_fit <- function(result, call) {
  settings <- result$settings
  losses <- unpack(result$losses)
  colnames(losses) <- unlist(result$terms)
  shape <- as.integer(unlist(result$shape))
  validation <- as.data.frame(lapply(result$validation, unpack))
  if (nrow(validation)) validation$epoch <- as.integer(validation$epoch)
  held_out <- if (!is.null(result$held_out)) unpack(result$held_out) + 1L
  fit <- structure(list(
    recipe = result$recipe, objective = settings$objective, title = result$title,
    formula = result$formula, unit = result$unit, mean = result$mean, settings = settings,
    seed = settings$seed, shape = shape, data = result$data, environment = result$environment,
    start = result$start,
    history = history_table(losses, unpack(result$epochs), settings$objective,
                            settings$batch_size, result$mean, result$unit),
    latent_means = lapply(result$latent_means, function(mu) name_latents(unpack(mu))),
    dimensions = dimension_table(result$dimensions),
    samples = as_images(unpack(result$samples), shape),
    parameters = as.raw(result$parameters), optimiser = as.raw(result$optimiser),
    interrupted = result$interrupted, ended = result$ended, seconds = result$seconds, call = call),
    class = "vae_fit")
  if (nrow(validation)) fit$validation <- validation
  fit$held_out <- held_out
  fit
}

latent_names <- function(n) sprintf("z%d", seq_len(n))

name_latents <- function(mu, rows = NULL) {
  dimnames(mu) <- list(rows, latent_names(ncol(mu)))
  mu
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
#'   `loss` if it is not in nats per image). By epoch also `validation`, the loss of one image that
#'   was held out, if any was.
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
  held_out <- fit$validation
  if (!is.null(held_out)) table$validation <- held_out$total[match(table$epoch, held_out$epoch)]
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
      ")", how_it_ended(x),
      if (length(x$start)) paste0("\n  start     ", x$start$title),
      "\n  last      ", in_unit(x, last[[loss_column(x)]]), ", mean over epoch ", last$epoch,
      if (!is.null(x$validation)) c("\n  held out  ", validation_in_words(x)),
      "\n  seed      ", format(x$seed), ", ", settings$dtype, ", ", x$environment$device,
      ", PyTorch ", x$environment$torch, "\n", sep = "")
  invisible(x)
}

# The end of a sentence on how long a fit was trained.
how_it_ended <- function(fit) {
  if (fit$interrupted) return(", then interrupted")
  switch(fit$ended %||% "complete", early = ", then no better validation",
         callback = ", then ended by a callback")
}

validation_in_words <- function(fit) {
  loss <- fit$validation$total
  best <- which.min(loss)
  rows <- length(fit$held_out)
  paste0(in_unit(fit, utils::tail(loss, 1L)), " after epoch ",
         utils::tail(fit$validation$epoch, 1L),
         if (rows) paste0(", on ", counted(rows, "image")),
         if (length(best) && best < length(loss)) {
           paste0("; best after epoch ", fit$validation$epoch[[best]], ": ",
                  in_unit(fit, loss[[best]]))
         })
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
  kept <- c("recipe", "objective", "title", "formula", "unit", "mean", "settings", "seed", "data",
            "environment", "start", "history", "validation", "held_out", "interrupted", "ended")
  structure(list(
    fit = object[intersect(kept, names(object))],
    last_epoch = utils::tail(epoch_table(object), 1L),
    parameters = sum(lengths(coef.vae_fit(object))),
    images = nrow(object$latent_means$evaluation),
    spread = sort(spread, decreasing = TRUE), active_units = sum(spread^2 > least_variance)),
    class = "summary.vae_fit")
}

#' @rdname print.vae_fit
#' @export
print.summary.vae_fit <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  print.vae_fit(x$fit)
  last <- x$last_epoch
  terms <- setdiff(names(last), c("objective", "epoch", "steps", "validation",
                                  loss_column(x$fit)))
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
