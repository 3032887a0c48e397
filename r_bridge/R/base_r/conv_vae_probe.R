# What the stages of conv_vae.R returned, or the gradients with respect to it, under the names
# that every engine uses (pyvae/model/stages.py), as arrays with the same order in memory as torch's:
# dim is c(column, row, channel, image) where torch has (image, channel, row, column).

# encoder, decoder: lists under the names that conv_vae.R uses, all of the same images.
conv_vae_stages <- function(encoder, decoder) {
  n <- ncol(encoder$pool) %/% 12L^2
  rows <- function(x, ...) {                                       # n x features
    x <- t(x)
    dim(x) <- c(..., n)
    x
  }
  list(
    input = matrix(encoder$input, ncol = n),                       # pixel by pixel already
    encoder.conv1 = stage_map(encoder$conv1, 26L),
    encoder.relu1 = stage_map(encoder$relu1, 26L),
    encoder.conv2 = stage_windows(encoder$conv2, 24L),
    encoder.relu2 = stage_windows(encoder$relu2, 24L),
    encoder.pool = stage_map(encoder$pool, 12L),
    encoder.dropout1 = stage_map(encoder$dropped1, 12L),
    encoder.flatten = t(encoder$flat),
    encoder.fc1 = t(encoder$fc1),
    encoder.relu3 = t(encoder$relu3),
    encoder.dropout2 = t(encoder$dropped2),
    encoder.fc2 = t(encoder$mu),
    encoder.fc3 = t(encoder$log_var),
    reparameterise = t(decoder$z),
    decoder.fc1 = t(decoder$fc1),
    decoder.relu1 = t(decoder$relu1),
    decoder.fc2 = t(decoder$fc2),
    decoder.relu2 = t(decoder$relu2),
    decoder.conv1 = rows(decoder$conv1, 1L, 1L, 256L),
    decoder.relu3 = rows(decoder$relu3, 1L, 1L, 256L),
    decoder.conv2 = rows(decoder$conv2, 1L, 1L, 784L),
    decoder.sigmoid = t(decoder$q)
  )
}

# channels x (column, row, image) to c(column, row, channel, image).
stage_map <- function(x, side) {
  channels <- nrow(x)
  dim(x) <- c(channels, side^2, ncol(x) %/% side^2)
  x <- aperm(x, c(2L, 1L, 3L))
  dim(x) <- c(side, side, channels, dim(x)[3L])
  x
}

# The same from the order of max-pool windows (conv2d_patches with windows = 2).
stage_windows <- function(x, side) {
  images <- ncol(x) %/% side^2
  windows <- c(side %/% 2L, side %/% 2L, images, 2L, 2L)           # column, row, image, within
  order <- aperm(array(seq_len(ncol(x)), windows), c(4L, 1L, 5L, 2L, 3L))
  stage_map(x[, order], side)                                      # whole columns: fast
}
