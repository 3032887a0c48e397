# Max-pooling over non-overlapping s x s windows, and its gradient.
#
#   y[p] = max over the window's corners k of x[p, k]
#
# The gradient goes to the largest element alone; among equal ones to the first in reading
# order (row by row), as in torch (?nn_max_pool2d). On MNIST ties are common: the background
# is constant.
#
# x is maps c(C, W, H, N). Corner k of every window is one block of columns of its matrix C x
# (W H N); an odd last row or column is in no window.

max_pool2d_forward <- function(x, s = 2L) {
  size <- dim(x)
  corners <- max_pool2d_corners(size, s)
  x <- by_pixel(x)
  y <- x[, corners[, 1L]]
  winner <- rep.int(1L, length(y))
  for (corner in seq.int(2L, s * s)) {
    candidate <- x[, corners[, corner]]
    larger <- which(candidate > y)                                 # ties stay with the first
    y[larger] <- candidate[larger]
    winner[larger] <- corner
  }
  if (anyNA(x)) {                                                  # handed on, as in torch
    for (corner in seq_len(s * s)) y[is.na(x[, corners[, corner]])] <- NaN
  }
  dim(y) <- c(size[1L], size[2:3] %/% s, size[4L])
  list(y = y, winner = winner)
}

max_pool2d_backward <- function(dy, x, winner, s = 2L) {
  size <- dim(x)
  corners <- max_pool2d_corners(size, s)
  window <- rep(seq_len(nrow(corners)), each = size[1L])
  pixel <- corners[window + (winner - 1L) * nrow(corners)]
  dx <- array(0, size)
  dx[(pixel - 1L) * size[1L] + seq_len(size[1L])] <- dy
  dx
}

# The columns of x that are the first corners of all windows, the second, and so on; computed once.
max_pool2d_corners <- local({
  known <- list()
  function(size, s) {
    key <- paste(c(size[-1L], s), collapse = " ")
    if (is.null(known[[key]])) {
      if (length(known) > 50L) known <<- list()
      pooled <- size[2:3] %/% s
      column <- array(seq_len(prod(size[-1L])), size[-1L])
      column <- column[seq_len(s * pooled[1L]), seq_len(s * pooled[2L]), , drop = FALSE]
      dim(column) <- c(s, pooled[1L], s, pooled[2L], size[4L])
      known[[key]] <<- matrix(aperm(column, c(2L, 4L, 5L, 1L, 3L)), ncol = s * s)
    }
    known[[key]]
  }
})
