# Feature maps, and the order of their numbers.
#
# Values are matrices (F, N), or maps c(C, W, H, N): channel, column, row, image. With the channel
# fastest a patch of a map is a gather of whole columns of the matrix C x (W H N), and a number per
# channel recycles over it. torch's order in memory is (F, N) and c(W, H, C, N).

# From torch's index order, (N, F) or (N, C, H, W).
images_last <- function(x) {
  switch(length(dim(x)), x, t(x), stop("an array with three axes"), aperm(x, c(2L, 4L, 3L, 1L)))
}

# To torch's order in memory.
torch_order <- function(x) if (length(dim(x)) == 4L) aperm(x, c(2L, 3L, 1L, 4L)) else x

images_of <- function(x) dim(x)[length(dim(x))]

# (F, N), features in torch's order: the column fastest, then the row, then the channel.
as_flat <- function(x) {
  if (is.matrix(x)) return(x)
  size <- dim(x)
  if (prod(size[2:3]) > 1) x <- aperm(x, c(2L, 3L, 1L, 4L))
  dim(x) <- c(prod(size[1:3]), size[4L])
  x
}

# (F, N) as maps of `channels`, of rows and columns `side`; square ones by default.
as_maps <- function(x, channels = 1L, side = square_side(nrow(x), channels)) {
  if (prod(side) > 1 && channels > 1) {
    dim(x) <- c(side, channels, ncol(x))
    return(aperm(x, c(3L, 1L, 2L, 4L)))
  }
  dim(x) <- c(channels, side, ncol(x))
  x
}

square_side <- function(features, channels) {
  side <- sqrt(features / channels)
  if (side != round(side)) stop(features, " features are no ", channels, " channel(s) of square maps")
  c(side, side)
}

# One image's shape as torch has it: F, or c(C, H, W).
shape_of <- function(x) if (is.matrix(x)) nrow(x) else dim(x)[c(1L, 3L, 2L)]

# The same numbers for images of another such shape.
reshaped <- function(x, shape) {
  if (is.null(x) || length(shape) == 0L || identical(as.numeric(shape_of(x)), as.numeric(shape))) {
    return(x)
  }
  x <- as_flat(x)
  if (prod(shape) != nrow(x)) stop(nrow(x), " numbers an image; expected ", prod(shape))
  if (length(shape) == 1L) x else as_maps(x, shape[1L], shape[c(3L, 2L)])
}

# In the shape of another value.
shaped <- function(x, like) reshaped(x, shape_of(like))
