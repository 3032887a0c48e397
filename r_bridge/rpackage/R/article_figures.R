# The five figures of the R article "VAE and EMAE", with R's own graphics.
#
#   article_run_figures("article-r", run)         vae_gen and mu_VAE, or emae_gen and mu_EMAE
#   article_loss_figure("article-r", runs, "MNIST, base-r")         loss_hist
#
# A run is a list or an environment:
#
# objective      "vae" or "emae"
# losses         steps x 3, the first column the total, sums over the batch in nats
# epochs         the epoch of each step, from 1
# batch_size     images in a step
# latent_means   list(training = images x dimensions), of the last batch
# samples        16 x 784, decoded draws from N(0, I), pixels in [0, 1], row by row of the image
# title, mean, unit    of other objectives: what they are called, whether losses are means over the
#                      images of a batch, the unit of the loss of one image
# colour, line         other ones than the objective's, where two runs have one objective
# validation     data.frame(at, loss), of images that are not trained on: the epoch, the loss of one
#
# All return the paths of the files they wrote.

article_styles <- list(
  vae = list(title = "VAE", colour = "firebrick", line = 2L),
  emae = list(title = "EMAE", colour = "steelblue", line = 1L),
  em = list(title = "EM", colour = "darkorange", line = 1L),
  elbo = list(colour = "seagreen", line = 1L),
  beta = list(colour = "#663399", line = 1L),
  clustering = list(colour = "darkcyan", line = 1L),
  "semi-supervised" = list(colour = "mediumvioletred", line = 1L),
  "clustering-points" = list(colour = "olivedrab", line = 1L))

run_style <- function(run) {
  style <- article_styles[[run$objective]]
  if (is.null(style)) style <- list(title = run$objective, colour = "black", line = 1L)
  for (name in c("title", "colour", "line")) {
    if (!is.null(run[[name]])) style[[name]] <- run[[name]]
  }
  style
}

# A title as large as there is room for; to be called when the figure has been begun.
draw_title <- function(text, colour = "black", largest = 1) {
  room <- 0.96 * graphics::par("fin")[[1L]]
  width <- max(graphics::strwidth(text, "inches", cex = largest, font = 1))
  graphics::title(main = text, font.main = 1, col.main = colour,
                  cex.main = largest * min(1, room / width))
}

# An axis of things that are counted: no halves.
draw_whole_axis <- function(range) {
  ticks <- pretty(range)
  graphics::axis(1, at = ticks[ticks == round(ticks)])
}

# Numbers as labels of an axis, and the lines of margin that they take.
axis_labels <- function(at) {
  text <- thousands(at, scientific = if (max(abs(at)) < 1e-4) TRUE else FALSE, trim = TRUE)
  list(text = text, room = 1 + 0.5 * max(nchar(text)))
}

article_run_figures <- function(folder, run, kind = picture_kind()) {
  title <- run_style(run)$title
  c(write_picture(folder, paste0(run$objective, "_gen"), 4, 4 + title_strip, kind,
                  draw_digits(run$samples, title)),
    write_picture(folder, paste0("mu_", title), 7, 4.7, kind,
                  draw_latent_means(run$latent_means$training, title)))
}

article_loss_figure <- function(folder, runs, title, kind = picture_kind()) {
  write_picture(folder, "loss_hist", 7, 4.7, kind, draw_loss_history(runs, title))
}

# Loss of one image, the mean over an epoch, as in pyvae's own figures; on the right the sum over
# the epoch's batches, as the article prints it, where all points stand for as many images. Within
# the first epoch: loss per step. The loss of images that are not trained on is dotted. Returns the
# numbers on the axes.
draw_loss_history <- function(runs, title, xlim = NULL, ylim = NULL) {
  per_epoch <- max(vapply(runs, function(run) max(run$epochs), 0)) > 1
  curves <- lapply(runs, loss_curve, per_epoch)
  images <- unique(unlist(lapply(curves, function(curve) curve$images)))
  averaged <- any(vapply(runs, function(run) isTRUE(run$mean), NA))
  x <- lapply(curves, function(curve) curve$at)
  y <- lapply(curves, function(curve) curve$total / curve$images)
  held_out <- lapply(runs, function(run) if (per_epoch) run$validation)
  if (is.null(xlim)) xlim <- range(unlist(x))
  if (is.null(ylim)) {
    ylim <- range(unlist(y), unlist(lapply(held_out, function(of) of$loss)), finite = TRUE)
  }
  left <- pretty(ylim, 6)
  labels <- axis_labels(left)
  sums <- per_epoch && length(images) == 1L && !averaged
  right <- pretty(ylim * images[[1L]], 6)
  beside <- axis_labels(right)
  size <- graphics::par("cex")                                     # of several figures on a page
  graphics::par(mar = c(4, labels$room + 2, 2.5, if (sums) beside$room + 2 else 1),
                mgp = c(2.6, 0.7, 0), las = 1)
  plot(xlim, ylim, type = "n", axes = FALSE, xlab = if (per_epoch) "epoch" else "step", ylab = "")
  draw_title(title, largest = 0.9)
  graphics::box()
  draw_whole_axis(xlim)
  graphics::axis(2, at = left, labels = labels$text)
  graphics::mtext(loss_label(runs[[1L]]), side = 2, line = labels$room + 0.5, las = 0, cex = size)
  if (sums) {
    graphics::axis(4, at = right / images, labels = beside$text)
    graphics::mtext("sum over the epoch's batches (nats)", side = 4, line = beside$room + 0.5,
                    las = 0, cex = size)
  }
  for (i in rev(seq_along(runs))) {                                # dashed lies on solid
    style <- run_style(runs[[i]])
    draw_curve(x[[i]], y[[i]], style$colour, style$line)
    if (!is.null(held_out[[i]])) draw_curve(held_out[[i]]$at, held_out[[i]]$loss, style$colour, 3L)
  }
  draw_loss_legend(runs, !vapply(held_out, is.null, NA))
  invisible(list(left = left, right = if (sums) right))
}

draw_curve <- function(x, y, colour, line) {
  graphics::lines(x, y, type = if (length(x) < 10L) "o" else "l", pch = 20L, col = colour,
                  lty = line, lwd = 1.5)
}

draw_loss_legend <- function(runs, validated) {
  styles <- lapply(runs, run_style)
  field <- function(name) vapply(styles, function(style) style[[name]], styles[[1L]][[name]])
  order <- order(c(seq_along(runs), which(validated)))             # each beside its own
  graphics::legend("topright", inset = 0.02, lwd = 1.5,
                   legend = c(field("title"),
                              sprintf("%s, validation", field("title")[validated]))[order],
                   lty = c(field("line"), rep(3L, sum(validated)))[order],
                   col = c(field("colour"), field("colour")[validated])[order])
}

# The label of an axis of losses, with their unit.
loss_label <- function(run) {
  unit <- if (is.null(run$unit)) "nats per image" else run$unit
  if (nzchar(unit)) sprintf("loss (%s)", unit) else "loss"
}

# "1,797", or "1.797" where the decimal mark is a comma.
thousands <- function(x, ...) {
  format(x, big.mark = if (identical(getOption("OutDec"), ",")) "." else ",", ...)
}

# Where the points are, what the loss sums to there, and over how many images.
loss_curve <- function(run, per_epoch) {
  group <- if (per_epoch) run$epochs else seq_along(run$epochs)
  total <- rowsum(run$losses[, 1L], group)
  steps <- rowsum(rep(1, length(group)), group)
  if (isTRUE(run$mean)) {
    return(list(at = as.numeric(rownames(total)), total = as.vector(total / steps), images = 1))
  }
  list(at = as.numeric(rownames(total)), total = as.vector(total),
       images = as.vector(steps) * run$batch_size)
}

title_strip <- 0.3                                                 # inches

# Generated digits, 4 x 4, upright: image() draws the first index to the right, the second
# upwards. White is a pixel of 1 in all of them.
draw_digits <- function(samples, title) {
  graphics::par(mfrow = c(4L, 4L), mai = c(0, 0, 0, 0), omi = c(0, 0, title_strip, 0))
  for (i in seq_len(nrow(samples))) {
    digit <- matrix(samples[i, ], 28L, 28L)                        # [column, row]
    graphics::image(digit[, 28:1], zlim = c(0, 1), col = grDevices::grey.colors(255L),
                    axes = FALSE, useRaster = TRUE)
  }
  graphics::mtext(sprintf("%s: %d draws from N(0, I)", title, nrow(samples)), outer = TRUE,
                  line = 0.3)
}

# Image index against mu, a line for each latent dimension.
draw_latent_means <- function(mu, title, narrow = FALSE, main = NULL, ...) {
  words <- paste0("%s: ", if (!narrow) "latent means, ", "%d dimensions, dropout on")
  graphics::par(mar = c(4, 4, 2.5, 1), mgp = c(2.6, 0.7, 0), las = 1)
  graphics::matplot(mu, type = if (nrow(mu) > 1L) "l" else "p", pch = 20L, lty = 1L, lwd = 0.7,
                    col = grDevices::hcl.colors(ncol(mu)), xlab = "image of the last batch",
                    ylab = expression(mu), xaxt = "n", ...)
  draw_whole_axis(graphics::par("usr")[1:2])
  draw_title(if (is.null(main)) sprintf(words, title, ncol(mu)) else main, largest = 0.9)
}

# How this R can draw without a screen: PNG through cairo, PNG as it likes to, or PDF, which every
# R can write. R may believe that it has cairo, and only find out when a picture is opened.
picture_kind <- function() {
  for (kind in c("cairo", "png")) {
    can <- capabilities(kind) && tryCatch({
      draw_picture(tempfile(), 4, 4, kind, graphics::plot.new())
      TRUE
    }, warning = function(w) FALSE, error = function(e) FALSE)
    if (can) return(kind)
  }
  "pdf"
}

# `draw` is not evaluated before the device is open.
draw_picture <- function(path, width, height, kind, draw) {
  png <- function(...) grDevices::png(path, width, height, units = "in", res = 150, ...)
  before <- grDevices::dev.list()
  on.exit(for (device in setdiff(grDevices::dev.list(), before)) grDevices::dev.off(device))
  switch(kind, cairo = png(type = "cairo"), png = png(), grDevices::pdf(path, width, height))
  force(draw)
}

# Drawn elsewhere first (png() reads % in a path as the number of a page), then brought into the
# folder whole.
write_picture <- function(folder, name, width, height, kind, draw) {
  path <- file.path(folder, paste0(name, if (kind == "pdf") ".pdf" else ".png"))
  drawn <- tempfile()
  part <- paste0(path, ".part")
  on.exit(unlink(c(drawn, part), expand = FALSE))
  draw_picture(drawn, width, height, kind, draw)
  moved <- suppressWarnings(
    file.copy(drawn, part, overwrite = TRUE) && file.size(part) == file.size(drawn) &&
      file.rename(part, path))
  if (!moved) stop("picture '", path, "' cannot be written", call. = FALSE)
  path
}
