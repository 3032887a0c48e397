#' Plot one or more fits with ggplot2
#'
#' A method for ggplot2's `autoplot()`. See [plot.vae_fit()] for the figures.
#'
#' @param object A fit from [vae_fit()].
#' @param ... Further fits; for `"loss"` their losses must be on the same scale.
#' @param type `"loss"`, `"samples"`, `"latent"` or `"spread"`.
#' @returns A ggplot.
#' @exportS3Method ggplot2::autoplot
autoplot.vae_fit <- function(object, ..., type = c("loss", "samples", "latent", "spread")) {
  here <- environment()
  type <- check_choice(type, "type", c("loss", "samples", "latent", "spread"), several = TRUE)
  fits <- check_fits(list(object, ...), "autoplot", "type", here)
  if (type == "loss" && length(by_scale(fits)) > 1L) {
    abort(c("The losses of these fits are on different scales, which cannot share an axis.",
            "i" = "Use {.fn plot}, which draws a panel for each scale."), here)
  }
  runs <- as_runs(fits)
  titles <- vapply(runs, function(run) run$title, "")
  colours <- stats::setNames(vapply(runs, function(run) run_style(run)$colour, ""), titles)
  # the rows of all fits, in one table
  together <- function(table) {
    tables <- Map(function(fit, title) {
      rows <- table(fit)
      cbind(rows, fit = factor(rep(title, nrow(rows)), titles))
    }, fits, titles)
    do.call(rbind, tables)
  }
  switch(type,
    loss = ggplot_losses(fits, together, colours),
    samples = if (length(dim(object$samples)) == 2L) ggplot_points(together, colours)
      else ggplot_images(together),
    latent = ggplot_latent_means(together),
    spread = ggplot_spread(together, colours))
}

ggplot_losses <- function(fits, together, colours) {
  epochs <- max(vapply(fits, function(fit) max(fit$history$epoch), 0L))
  by <- if (epochs > 1L) "epoch" else "step"
  rows <- together(function(fit) {
    table <- as.data.frame.vae_fit(fit, by = by)
    data.frame(at = table[[by]], loss = table[[loss_column(fit)]])
  })
  held_out <- together(function(fit) {
    of <- if (by == "epoch") as_run(fit)$validation
    if (is.null(of)) data.frame(at = numeric(), loss = numeric()) else of
  })
  rows$images <- rep("training", nrow(rows))
  held_out$images <- rep("validation", nrow(held_out))
  rows <- rbind(rows, held_out)
  ggplot2::ggplot(rows, ggplot2::aes(.data$at, .data$loss, colour = .data$fit,
                                     linetype = .data$images)) +
    ggplot2::geom_line() +
    ggplot2::geom_point(size = 0.8) +
    ggplot2::scale_linetype_manual(values = c(training = "solid", validation = "dotted"),
                                   guide = if (nrow(held_out)) "legend" else "none") +
    ggplot2::scale_x_continuous(breaks = whole_breaks) +
    ggplot2::scale_colour_manual(values = colours) +
    ggplot2::labs(x = by, y = loss_label(fits[[1L]]), colour = NULL, linetype = NULL)
}

ggplot_points <- function(together, colours) {
  rows <- together(function(fit) data.frame(x = fit$samples[, 1L], y = fit$samples[, 2L]))
  ggplot2::ggplot(rows, ggplot2::aes(.data$x, .data$y, colour = .data$fit)) +
    ggplot2::geom_point() +
    ggplot2::facet_wrap("fit") +
    ggplot2::coord_equal() +
    ggplot2::scale_colour_manual(values = colours) +
    ggplot2::labs(colour = NULL)
}

ggplot_images <- function(together) {
  pixels <- together(sample_pixels)
  if (is.character(pixels$pixel)) return(ggplot_colours(pixels))
  ggplot2::ggplot(pixels, ggplot2::aes(.data$x, .data$y, fill = .data$pixel)) +
    ggplot2::geom_raster() +
    ggplot2::facet_wrap("fit") +
    ggplot2::scale_fill_gradient(low = "black", high = "white", limits = c(0, 1),
                                 na.value = "white") +
    ggplot2::coord_equal(expand = FALSE) +
    ggplot2::labs(x = NULL, y = NULL, fill = "pixel") +
    ggplot2::theme(axis.text = ggplot2::element_blank(), axis.ticks = ggplot2::element_blank())
}

ggplot_colours <- function(pixels) {
  ggplot2::ggplot(pixels, ggplot2::aes(.data$x, .data$y, fill = .data$pixel)) +
    ggplot2::geom_raster() +
    ggplot2::facet_wrap("fit") +
    ggplot2::scale_fill_identity() +
    ggplot2::coord_equal(expand = FALSE) +
    ggplot2::labs(x = NULL, y = NULL) +
    ggplot2::theme(axis.text = ggplot2::element_blank(), axis.ticks = ggplot2::element_blank())
}

ggplot_latent_means <- function(together) {
  rows <- together(function(fit) {
    mu <- fit$latent_means$training
    data.frame(image = as.vector(row(mu)), dimension = factor(as.vector(col(mu))),
               mu = as.vector(mu))
  })
  ggplot2::ggplot(rows, ggplot2::aes(.data$image, .data$mu, colour = .data$dimension)) +
    ggplot2::geom_line(linewidth = 0.3, show.legend = FALSE) +
    ggplot2::facet_wrap("fit", scales = "free_y") +
    ggplot2::scale_colour_viridis_d() +
    ggplot2::labs(x = "image of the last batch, dropout on", y = expression(mu))
}

ggplot_spread <- function(together, colours) {
  rows <- together(function(fit) {
    spread <- summary.vae_fit(fit)$spread
    data.frame(rank = seq_along(spread), spread = spread)
  })
  ggplot2::ggplot(rows, ggplot2::aes(.data$rank, .data$spread, fill = .data$fit)) +
    ggplot2::geom_col(show.legend = FALSE) +
    ggplot2::facet_wrap("fit", scales = "free_y") +
    ggplot2::scale_fill_manual(values = colours) +
    ggplot2::labs(x = "latent dimension, largest first",
                  y = expression("standard deviation of " * mu))
}

whole_breaks <- function(limits) {
  ticks <- pretty(limits)
  ticks[ticks == round(ticks)]
}

# A row for each pixel; of colour images `pixel` is a colour.
sample_pixels <- function(fit) {
  canvas <- canvas_of(fit$samples)
  plane <- matrix(0, nrow(canvas), ncol(canvas))
  pixel <- as.vector(canvas)
  if (length(dim(canvas)) == 3L) {
    canvas[is.na(canvas)] <- 1
    pixel <- as.vector(grDevices::rgb(canvas[, , 1L], canvas[, , 2L], canvas[, , 3L]))
  }
  data.frame(x = as.vector(col(plane)), y = -as.vector(row(plane)), pixel = pixel,
             stringsAsFactors = FALSE)
}
