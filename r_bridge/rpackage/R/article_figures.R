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
  if (!is.null(run$title)) style$title <- run$title
  style
}

article_run_figures <- function(folder, run, kind = picture_kind()) {
  title <- run_style(run)$title
  c(write_picture(folder, paste0(run$objective, "_gen"), 4, 4, kind, draw_digits(run$samples)),
    write_picture(folder, paste0("mu_", title), 7, 4.7, kind,
                  draw_latent_means(run$latent_means$training, title)))
}

article_loss_figure <- function(folder, runs, title, kind = picture_kind()) {
  write_picture(folder, "loss_hist", 7, 4.7, kind, draw_loss_history(runs, title))
}

# Loss per epoch, as the article prints it: the sum over the epoch's batches. Within the first
# epoch: loss per step. Where not all points stand for as many images, nats per image alone.
draw_loss_history <- function(runs, title) {
  per_epoch <- max(vapply(runs, function(run) max(run$epochs), 0)) > 1
  curves <- lapply(runs, loss_curve, per_epoch)
  images <- unique(unlist(lapply(curves, function(curve) curve$images)))
  averaged <- any(vapply(runs, function(run) isTRUE(run$mean), NA))
  what <- if (averaged) mean_loss_label(runs[[1L]], per_epoch)
    else if (length(images) > 1L) "loss (nats per image)"
    else if (per_epoch) "sum over the epoch's batches (nats)" else "sum over the batch (nats)"
  y <- lapply(curves, function(curve) {
    if (length(images) > 1L) curve$total / curve$images else curve$total
  })
  x <- lapply(curves, function(curve) curve$at)
  left <- pretty(range(y), 6)
  labels <- format(left, big.mark = ",", scientific = FALSE, trim = TRUE)
  room <- 1 + 0.5 * max(nchar(labels))                             # lines that the labels take
  graphics::par(mar = c(4, room + 2, 2.5, 4.5), mgp = c(2.6, 0.7, 0), las = 1)
  plot(range(x), range(y), type = "n", axes = FALSE, xlab = if (per_epoch) "epoch" else "step",
       ylab = "", main = title, cex.main = 0.9, font.main = 1)
  graphics::box()
  whole <- pretty(range(x))
  graphics::axis(1, at = whole[whole == round(whole)])
  graphics::axis(2, at = left, labels = labels)
  graphics::mtext(what, side = 2, line = room + 0.5, las = 0)
  if (length(images) == 1L && !averaged) {
    right <- pretty(range(y) / images, 6)
    graphics::axis(4, at = right * images, labels = right)
    graphics::mtext("nats per image", side = 4, line = 3, las = 0)
  }
  styles <- lapply(runs, run_style)
  field <- function(name) vapply(styles, function(style) style[[name]], styles[[1L]][[name]])
  for (i in rev(seq_along(runs))) {                                # dashed lies on solid
    style <- styles[[i]]
    graphics::lines(x[[i]], y[[i]], type = if (length(x[[i]]) < 10L) "o" else "l", pch = 20L,
                    col = style$colour, lty = style$line, lwd = 1.5)
  }
  graphics::legend("topright", field("title"), lty = field("line"), col = field("colour"),
                   lwd = 1.5, inset = 0.02)
}

mean_loss_label <- function(run, per_epoch) {
  unit <- if (nzchar(run$unit)) run$unit else "no unit"
  sprintf("loss (%s)%s", unit, if (per_epoch) ", mean over the epoch's batches" else "")
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

# Generated digits, 4 x 4, upright: image() draws the first index to the right, the second
# upwards. White is a pixel of 1 in all of them.
draw_digits <- function(samples) {
  graphics::par(mfrow = c(4L, 4L), mai = c(0, 0, 0, 0))
  for (i in seq_len(nrow(samples))) {
    digit <- matrix(samples[i, ], 28L, 28L)                        # [column, row]
    graphics::image(digit[, 28:1], zlim = c(0, 1), col = grDevices::grey.colors(255L),
                    axes = FALSE, useRaster = TRUE)
  }
}

# Image index against mu, a line for each latent dimension.
draw_latent_means <- function(mu, title, narrow = FALSE) {
  words <- paste0("%s: ", if (!narrow) "latent means, ", "%d dimensions, dropout on")
  graphics::par(mar = c(4, 4, 2.5, 1), mgp = c(2.6, 0.7, 0), las = 1)
  graphics::matplot(mu, type = if (nrow(mu) > 1L) "l" else "p", pch = 20L, lty = 1L, lwd = 0.7,
                    col = grDevices::hcl.colors(ncol(mu)), xlab = "image of the last batch",
                    ylab = expression(mu), cex.main = 0.9, font.main = 1,
                    main = sprintf(words, title, ncol(mu)))
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
