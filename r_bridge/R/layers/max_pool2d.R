# Max-pooling over non-overlapping s x s windows, and its gradient.
#
#   y[p] = max over the window's corners k of x[p, k]
#
# The gradient goes to the largest element alone; among equal ones to the first in reading
# order (row by row), as in torch (?nn_max_pool2d). On MNIST ties are common: the background
# is constant.
#
# Layout: x comes in the order of conv2d_patches(windows = s), the corner of the window
# slowest and the window's column faster than its row, so that corner k of every window is
# one block of columns.

max_pool2d_forward <- function(x, s = 2L) {
  channels <- nrow(x)
  pooled <- ncol(x) %/% (s * s)
  dim(x) <- c(channels * pooled, s * s)
  y <- x[, 1L]
  winner <- rep.int(1L, length(y))
  for (corner in seq.int(2L, s * s)) {
    candidate <- x[, corner]
    larger <- which(candidate > y)                                 # ties stay with the first
    y[larger] <- candidate[larger]
    winner[larger] <- corner
  }
  if (anyNA(x)) y[rowSums(is.na(x)) > 0] <- NaN                    # handed on, as in torch
  dim(y) <- c(channels, pooled)
  list(y = y, winner = winner)
}

max_pool2d_backward <- function(dy, winner, s = 2L) {
  dx <- numeric(length(dy) * s * s)
  dx[seq_along(dy) + (winner - 1) * length(dy)] <- dy
  dim(dx) <- c(nrow(dy), ncol(dy) * s * s)
  dx
}
