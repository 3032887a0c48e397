#' Figures of a fit
#'
#' The figures of the R article "VAE and EMAE", in base graphics: losses, generated digits, latent
#' means. Several fits are drawn together: losses over each other, the others side by side. Needs
#' no Python.
#'
#' @param x A fit of [vae_fit()].
#' @param ... Further fits.
#' @param type `"loss"`: the loss of each epoch as the article prints it, the sum over the epoch's
#'   batches, beside it nats per image (within the first epoch: of each step). `"samples"`: 16
#'   decoded draws from N(0, I). `"latent"`: latent means of the last batch with dropout on, a line
#'   for each dimension. `"spread"`: the standard deviation of each dimension's means over the
#'   images of the last batch, without dropout, the largest first.
#' @returns `x`, invisibly.
#' @export
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(100 * 28 * 28), c(100, 28, 28))
#' vae <- vae_fit(x, "vae", latent_dim = 5, epochs = 2, batch_size = 20, seed = 1)
#' emae <- vae_fit(x, "emae", latent_dim = 5, epochs = 2, batch_size = 20, seed = 1)
#' plot(vae, emae)
#' plot(vae, emae, type = "samples")
#' plot(vae, emae, type = "latent")
plot.vae_fit <- function(x, ..., type = c("loss", "samples", "latent", "spread")) {
  type <- match.arg(type)
  fits <- check_fits(list(x, ...), "plot", environment())
  before <- graphics::par(no.readonly = TRUE)
  on.exit(graphics::par(before))
  runs <- lapply(fits, as_run)
  if (type == "loss") {
    draw_loss_history(runs, paste0(x$data$name, ", ", runs_in_words(fits)))
    return(invisible(x))
  }
  graphics::par(mfrow = grid_of(length(fits)))
  for (i in seq_along(fits)) {
    switch(type,
      samples = draw_samples(fits[[i]]$samples, runs[[i]]),
      latent = draw_latent_means(runs[[i]]$latent_means$training, runs[[i]]$title,
                                 narrow = length(fits) > 1L),
      spread = draw_spread(fits[[i]], runs[[i]]))
  }
  invisible(x)
}

check_fits <- function(fits, name, call) {
  fine <- vapply(fits, inherits, NA, "vae_fit") & !nzchar(names(fits) %||% rep("", length(fits)))
  if (all(fine)) return(fits)
  first <- which(!fine)[[1L]]
  abort(c("{.fn {name}} of a fit takes further fits and {.arg type} alone.",
          "x" = "Argument {first} is {in_words(fits[[first]])}."), call)
}

# A fit as article_figures.R has its runs.
as_run <- function(fit) {
  terms <- setdiff(names(fit$history), c("objective", "epoch", "step", loss_column(fit)))
  list(objective = fit$objective, title = fit$title, mean = fit$mean, unit = fit$unit,
       losses = as.matrix(fit$history[terms]), epochs = fit$history$epoch,
       batch_size = fit$settings$batch_size, latent_means = fit$latent_means)
}

runs_in_words <- function(fits) {
  of <- function(get, word) {
    values <- unique(vapply(fits, function(fit) format(get(fit)), ""))
    paste(word, paste(values, collapse = ", "))
  }
  paste(of(function(fit) fit$settings$batch_size, "batch"), of(function(fit) fit$seed, "seed"),
        sep = ", ")
}

grid_of <- function(n) {
  rows <- floor(sqrt(n))
  c(rows, ceiling(n / rows))
}

# Digits upright in one picture, 4 x 4, or points in the plane.
draw_samples <- function(samples, run) {
  style <- run_style(run)
  if (length(dim(samples)) == 2L) {
    graphics::par(mar = c(4, 4, 2.5, 1), las = 1)
    plot(samples, pch = 20L, col = style$colour, asp = 1, xlab = "x", ylab = "y", font.main = 1,
         cex.main = 1, main = sprintf("%s: %d draws", style$title, nrow(samples)))
    return(invisible())
  }
  canvas <- canvas_of(samples)
  graphics::par(mar = c(0.5, 0.5, 2, 0.5))
  graphics::plot.new()
  graphics::plot.window(c(0, 1), c(0, 1), asp = 1)
  canvas[is.na(canvas)] <- 1
  graphics::rasterImage(canvas, 0, 0, 1, 1, interpolate = FALSE)
  graphics::title(sprintf("%s: %d draws from N(0, I)", style$title, nrow(samples)),
                  col.main = style$colour, font.main = 1, cex.main = 1)
}

# Images row by row in one matrix, pixels in [0, 1], with a line of NA between them.
canvas_of <- function(images) {
  columns <- ceiling(sqrt(nrow(images)))
  side <- image_side + 1L
  canvas <- matrix(NA_real_, columns * side - 1L, columns * side - 1L)
  for (i in seq_len(nrow(images))) {
    top <- (i - 1L) %/% columns * side
    left <- (i - 1L) %% columns * side
    canvas[top + seq_len(image_side), left + seq_len(image_side)] <- images[i, , ]
  }
  canvas[] <- pmin(pmax(canvas, 0), 1)
  canvas
}

draw_spread <- function(fit, run) {
  style <- run_style(run)
  spread <- summary.vae_fit(fit)$spread
  graphics::par(mar = c(2.5, 4.5, 2.5, 1), las = 1)
  graphics::barplot(spread, col = style$colour, border = NA, font.main = 1, cex.main = 0.9,
                    main = sprintf("%s: spread over %d images", style$title,
                                   nrow(fit$latent_means$evaluation)))
  graphics::title(xlab = "latent dimension, largest first", line = 1)
  graphics::title(ylab = expression("standard deviation of " * mu), line = 3.2)
}
