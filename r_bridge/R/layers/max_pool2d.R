# Max-pooling over non-overlapping s x s windows, and its gradient.
#
#   y[p] = max over the window's corners k of x[p, k]
#
# The gradient goes to the largest element alone; among equal ones to the first in reading
# order (row by row), as in torch (?nn_max_pool2d). On MNIST ties are common: the background
# is constant.
#
# x is maps c(C, W, H, N); an odd last row or column is in no window. In x as a vector a corner is as
# far from the first corner of its window in every window: `first` holds the places of the first
# corners, and `corners` the distances.

max_pool2d_forward <- function(x, s = 2L) {
  size <- dim(x)
  first <- max_pool2d_first(size, s)
  corners <- size[1L] * as.vector(outer(seq.int(0L, s - 1L), size[2L] * seq.int(0L, s - 1L), `+`))
  y <- x[first]
  winner <- first
  for (corner in corners[-1L]) {
    at <- first + corner
    candidate <- x[at]
    larger <- which(candidate > y)                                 # ties stay with the first
    y[larger] <- candidate[larger]
    winner[larger] <- at[larger]
  }
  if (anyNA(x)) {                                                  # handed on, as in torch
    for (corner in corners) y[is.na(x[first + corner])] <- NaN
  }
  dim(y) <- c(size[1L], size[2:3] %/% s, size[4L])
  list(y = y, winner = winner)
}

# winner: where in x the largest element of each window is.
max_pool2d_backward <- function(dy, x, winner) {
  dx <- array(0, dim(x))
  dx[winner] <- dy
  dx
}

# Where in x the first corner of each window is, in the order of y; computed once for a size.
max_pool2d_first <- local({
  known <- list()
  function(size, s) {
    key <- paste(c(size, s), collapse = " ")
    if (is.null(known[[key]])) {
      if (length(known) > 50L) known <<- list()
      pooled <- size[2:3] %/% s
      place <- array(seq_len(prod(size)), size)
      known[[key]] <<- as.vector(place[, s * seq_len(pooled[1L]) - s + 1L,
                                       s * seq_len(pooled[2L]) - s + 1L, ])
    }
    known[[key]]
  }
})
