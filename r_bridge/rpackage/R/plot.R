#' Plot one or more fits
#'
#' Draws the figures of the R article "VAE and EMAE" in base graphics: losses, generated digits and
#' latent means. Losses of several fits share a panel; the other figures are drawn side by side.
#' Works without Python.
#'
#' @param x A fit from [vae_fit()].
#' @param ... Further fits.
#' @param type `"loss"`: the loss of one image, the mean over each epoch, and dotted that of images
#'   that were held out; on the right the sum over the epoch's batches, as the article prints it (for
#'   a single epoch: the loss of each step). Losses on different scales get a panel each. `"samples"`: 16 decoded draws from N(0, I). `"latent"`: the
#'   latent means of the last batch with dropout on, a line for each dimension. `"spread"`: the
#'   standard deviation of each dimension's means over the images of the last batch, without
#'   dropout, the largest first.
#' @param main The title: one for all panels, or one for each.
#' @param xlim,ylim The limits of the axes; `"samples"` has none.
#' @details Several panels fill the caller's `par(mfrow = )` or `layout()`. If the page is not
#'   divided, they share one page.
#' @returns `x`, invisibly.
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' vae <- vae_fit(x, "vae", latent_dim = 5, epochs = 2, batch_size = 10, seed = 1)
#' emae <- vae_fit(x, "emae", latent_dim = 5, epochs = 2, batch_size = 10, seed = 1)
#' plot(vae, emae)
#' plot(vae, emae, type = "samples")
#' plot(vae, emae, type = "latent")
plot.vae_fit <- function(x, ..., type = c("loss", "samples", "latent", "spread"), main = NULL,
                         xlim = NULL, ylim = NULL) {
  here <- environment()
  type <- check_choice(type, "type", c("loss", "samples", "latent", "spread"), several = TRUE)
  fits <- check_fits(list(x, ...), "plot", c("type", "main", "xlim", "ylim"), here)
  if (type == "samples" && !(is.null(xlim) && is.null(ylim))) {
    abort(c("{.code type = \"samples\"} has no axes.",
            "i" = "Leave {.arg xlim} and {.arg ylim} out."), here)
  }
  runs <- as_runs(fits)
  groups <- if (type == "loss") by_scale(fits) else as.list(seq_along(fits))
  titles <- check_main(main, length(groups), here)
  restore <- divide_page(length(groups))
  on.exit(restore())
  for (i in seq_along(groups)) {
    chosen <- groups[[i]]
    run <- runs[[chosen[[1L]]]]
    fit <- fits[[chosen[[1L]]]]
    switch(type,
      loss = draw_loss_history(runs[chosen], titles[[i]] %||% runs_in_words(fits[chosen]),
                               xlim, ylim),
      samples = draw_samples(fit$samples, run, titles[[i]], narrow = length(groups) > 1L),
      latent = draw_latent_means(run$latent_means$training, run$title,
                                 narrow = length(groups) > 1L, main = titles[[i]],
                                 xlim = xlim, ylim = ylim),
      spread = draw_spread(fit, run, titles[[i]], xlim, ylim))
  }
  invisible(x)
}

check_fits <- function(fits, name, arguments, call) {
  fine <- vapply(fits, inherits, NA, "vae_fit") & !nzchar(names(fits) %||% rep("", length(fits)))
  if (all(fine)) return(fits)
  first <- which(!fine)[[1L]]
  named <- names(fits)[first] %||% ""
  abort(c("{.fn {name}} takes further fits and the arguments {.arg {arguments}}.",
          "x" = if (nzchar(named)) "It has no argument {.arg {named}}."
            else "Argument {first} is {in_words(fits[[first]])}."), call)
}

# A list with a title, or NULL, for each panel.
check_main <- function(main, n, call) {
  if (is.null(main)) return(vector("list", n))
  if ((is.character(main) || is.expression(main)) && length(main) %in% c(1L, n)) {
    return(rep_len(as.list(main), n))
  }
  abort(c("{.arg main} must be one title, or one for each of the {n} panel{?s}.",
          "x" = "It is {in_words(main)}."), call)
}

# Divides the page if the caller has not, and returns a function that restores it; the caller's own
# `mfrow` is left alone, as setting it begins a new page.
divide_page <- function(n) {
  changed <- c("mar", "mgp", "las")
  if (n > 1L && prod(graphics::par("mfrow")) == 1L) changed <- c(changed, "mfrow")
  before <- graphics::par(changed)
  if ("mfrow" %in% changed) graphics::par(mfrow = grid_of(n))
  function() graphics::par(before)
}

# A fit in the form of article_figures.R's runs.
as_run <- function(fit) {
  terms <- setdiff(names(fit$history), c("objective", "epoch", "step", loss_column(fit)))
  list(objective = fit$objective, title = fit$title, mean = fit$mean, unit = fit$unit,
       losses = as.matrix(fit$history[terms]), epochs = fit$history$epoch,
       batch_size = fit$settings$batch_size, latent_means = fit$latent_means,
       validation = if (!is.null(fit$validation)) {
         data.frame(at = fit$validation$epoch, loss = fit$validation$total)
       })
}

# Fits that are drawn together. Those of one objective get titles that say how they differ, and
# different colours and lines.
as_runs <- function(fits) {
  runs <- lapply(fits, as_run)
  titles <- fit_titles(fits)
  objectives <- vapply(fits, function(fit) fit$objective, "")
  for (i in seq_along(runs)) {
    runs[[i]]$title <- titles[[i]]
    nth <- sum(objectives[seq_len(i)] == objectives[[i]])
    if (nth > 1L) {
      runs[[i]]$colour <- further_colours[[(nth - 2L) %% length(further_colours) + 1L]]
      runs[[i]]$line <- nth %% 6L + 1L
    }
  }
  runs
}

further_colours <- c("black", "darkgoldenrod3", "hotpink3", "turquoise4", "grey55", "sienna4")

fit_titles <- function(fits) {
  titles <- vapply(fits, function(fit) fit$title, "")
  for (same in split(seq_along(fits), titles)) {
    if (length(same) == 1L) next
    about <- do.call(rbind, lapply(fits[same], facts_of))
    differ <- apply(about, 2L, function(values) length(unique(values)) > 1L)
    if (any(differ)) {
      words <- apply(about[, differ, drop = FALSE], 1L, paste, collapse = ", ")
      titles[same] <- paste(titles[same], words, sep = ", ")
    }
  }
  twice <- titles %in% titles[duplicated(titles)]
  titles[twice] <- paste0(titles[twice], " (", which(twice), ")")
  titles
}

# How two fits can differ, in the order in which a title says it.
facts_of <- function(fit) {
  settings <- fit$settings
  whole <- is.null(settings$steps) && !fit$interrupted && !identical(fit$ended, "callback")
  steps <- if (whole) counted(max(fit$history$epoch), "epoch")
    else counted(nrow(fit$history), "step")
  hyper <- settings$hyper
  c(fit$recipe, fit$data$name, paste(settings$latent_dim, "dimensions"), steps,
    paste("batch", settings$batch_size), paste("rate", format(settings$learning_rate)),
    paste(names(hyper), vapply(hyper, format, ""), collapse = ", "),
    paste("seed", format(fit$seed)), settings$dtype,
    if (is.null(fit$validation)) "no validation"
      else if (is.null(fit$held_out_share)) "other images for validation"
      else paste("validation", format(fit$held_out_share)))
}

# Fits whose losses can share an axis, as lists of their places.
by_scale <- function(fits) {
  scale <- vapply(fits, function(fit) paste(fit$mean, fit$unit), "")
  unname(split(seq_along(fits), factor(scale, unique(scale))))
}

runs_in_words <- function(fits) {
  of <- function(get, word = NULL) {
    values <- unique(vapply(fits, function(fit) format(get(fit)), ""))
    paste(c(word, paste(values, collapse = ", ")), collapse = " ")
  }
  paste(of(function(fit) fit$data$name), of(function(fit) fit$settings$batch_size, "batch"),
        of(function(fit) fit$seed, "seed"), sep = ", ")
}

grid_of <- function(n) {
  rows <- floor(sqrt(n))
  c(rows, ceiling(n / rows))
}

# Digits upright in one picture, 4 x 4, or points in the plane.
draw_samples <- function(samples, run, main = NULL, narrow = FALSE) {
  style <- run_style(run)
  main <- main %||% sprintf(if (narrow) "%s: %d draws" else "%s: %d draws from N(0, I)",
                            style$title, nrow(samples))
  if (length(dim(samples)) == 2L) {
    graphics::par(mar = c(4, 4, 2.5, 1), mgp = c(2.6, 0.7, 0), las = 1)
    plot(samples, pch = 20L, col = style$colour, asp = 1, xlab = "x", ylab = "y")
    draw_title(main)
    return(invisible())
  }
  canvas <- canvas_of(samples)
  graphics::par(mar = c(0.5, 0.5, 2, 0.5))
  graphics::plot.new()
  ratio <- nrow(canvas) / ncol(canvas)
  graphics::plot.window(c(0, 1), c(0, ratio), asp = 1)
  canvas[is.na(canvas)] <- 1
  graphics::rasterImage(canvas, 0, 0, 1, ratio, interpolate = FALSE)
  draw_title(main, style$colour)
}

# Images row by row in one matrix, pixels in [0, 1], with a line of NA between them; of three
# channels an array of rows x columns x channels, of another number their mean.
canvas_of <- function(images) {
  size <- dim(images)
  channels <- if (length(size) == 4L) size[[4L]] else 1L
  if (channels == 3L) {
    parts <- lapply(1:3, function(channel) canvas_of(array(images[, , , channel], size[1:3])))
    return(array(unlist(parts), c(dim(parts[[1L]]), 3L)))
  }
  if (length(size) == 4L) images <- apply(images, 1:3, mean)
  columns <- ceiling(sqrt(size[[1L]]))
  height <- size[[2L]] + 1L
  width <- size[[3L]] + 1L
  canvas <- matrix(NA_real_, columns * height - 1L, columns * width - 1L)
  for (i in seq_len(size[[1L]])) {
    top <- (i - 1L) %/% columns * height
    left <- (i - 1L) %% columns * width
    canvas[top + seq_len(height - 1L), left + seq_len(width - 1L)] <- images[i, , ]
  }
  canvas[] <- pmin(pmax(canvas, 0), 1)
  canvas
}

draw_spread <- function(fit, run, main = NULL, xlim = NULL, ylim = NULL) {
  style <- run_style(run)
  spread <- unname(summary.vae_fit(fit)$spread)
  ylim <- ylim %||% c(0, max(spread, 1e-300))
  at <- pretty(ylim)
  labels <- axis_labels(at)
  graphics::par(mar = c(2.5, labels$room + 2, 2.5, 1), mgp = c(2.6, 0.7, 0), las = 1)
  graphics::barplot(spread, col = style$colour, border = NA, xlim = xlim, ylim = ylim, yaxt = "n",
                    xpd = FALSE)
  graphics::axis(2, at = at, labels = labels$text)
  draw_title(main %||% sprintf("%s: spread over %d images", style$title,
                               nrow(fit$latent_means$evaluation)), largest = 0.9)
  graphics::title(xlab = "latent dimension, largest first", line = 1)
  graphics::title(ylab = expression("standard deviation of " * mu), line = labels$room + 0.5)
}
