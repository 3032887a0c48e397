# Two-dimensional convolution and transposed convolution with any stride s and padding p (square
# kernels of side k), and their gradients.
#
#   conv2d       y[o, i, j] = b[o] + sum_{c, u, v} W[o, c, u, v] x[c, s i + u - p, s j + v - p]
#                x is 0 outside of the image; sides  out = floor((side + 2 p - k) / s) + 1
#   transposed   y[c, s i + u - p, s j + v - p] += W[o, c, u, v] x[o, i, j], then + b[c]
#                sides  out = (side - 1) s - 2 p + k
#
# i and u run down the rows, j and v along the columns; the kernel is not flipped, as in torch
# (?nn_conv2d, ?nn_conv_transpose2d). The transposed convolution is conv2d's gradient with respect
# to its input, and so conv2d is the transposed one's: Dumoulin & Visin (2016), "A guide to
# convolution arithmetic for deep learning", sections 2 and 4, https://arxiv.org/abs/1603.07285.
#
# Layout. Maps are arrays c(W, H, C, N), torch's (N, C, H, W) in memory. Within, they become
# matrices with one row per channel and one column per pixel (its column fastest, then its row,
# then the image), so that a patch is a gather of whole columns (im2col, see conv2d.R); pixels
# outside of the image are one more column, of zeros. Some images are worked on at a time:
# their patches are to stay small.

strided_block <- 2^20                                              # numbers in one block's patches

strided_conv2d_forward <- function(x, weight, bias, stride, padding) {
  g <- strided_geometry(dim(x), dim(weight), stride, padding)
  y <- strided_apply(channels_first(x), weight, g) + (if (is.null(bias)) 0 else bias)
  channels_third(y, g$out)                                         # (out_w, out_h, O, n)
}

# wanted = FALSE leaves dL/dx out.
strided_conv2d_backward <- function(dy, x, weight, stride, padding, wanted = TRUE) {
  g <- strided_geometry(dim(x), dim(weight), stride, padding)
  dy <- channels_first(dy)
  list(x = if (wanted) channels_third(strided_adjoint(dy, weight, g), g$side),
       weight = strided_weight_gradient(dy, channels_first(x), weight, g), bias = rowSums(dy))
}

# The weight is (channels of x, channels of y, k, k), as torch has it.
strided_conv_transpose2d_forward <- function(x, weight, bias, stride, padding) {
  g <- strided_geometry(transposed_size(dim(x), dim(weight), stride, padding), dim(weight),
                        stride, padding)
  y <- strided_adjoint(channels_first(x), weight, g) + (if (is.null(bias)) 0 else bias)
  channels_third(y, g$side)
}

strided_conv_transpose2d_backward <- function(dy, x, weight, stride, padding) {
  g <- strided_geometry(dim(dy), dim(weight), stride, padding)
  dy <- channels_first(dy)
  list(x = channels_third(strided_apply(dy, weight, g), g$out),
       weight = strided_weight_gradient(channels_first(x), dy, weight, g), bias = rowSums(dy))
}

transposed_size <- function(size, kernel, stride, padding) {
  side <- (size[1:2] - 1L) * stride - 2L * padding + kernel[3L]
  c(side, kernel[2L], size[4L])
}

# What conv2d does to maps of that size; blocks of images by the size of their patches.
strided_geometry <- function(size, kernel, stride, padding) {
  side <- as.integer(size[1:2])
  out <- as.integer((side + 2L * padding - kernel[3L]) %/% stride + 1L)
  if (size[3L] != kernel[2L] || any(out < 1L)) {
    stop(sprintf("maps are %s (column, row, channel, image) and the kernel is %s, stride %d, ",
                 paste(size, collapse = " x "), paste(kernel, collapse = " x "), stride),
         "padding ", padding, "; expected ", kernel[2L], " channels, no smaller than the kernel")
  }
  images <- as.integer(size[4L])
  block <- max(1, strided_block %/% (prod(kernel[-1L]) * prod(out)))
  list(side = side, out = out, k = kernel[3L], stride = stride, padding = padding, images = images,
       blocks = split(seq_len(images), (seq_len(images) - 1L) %/% block))
}

# Which columns of a block hold the k x k patch below each output pixel: a k*k x outputs integer
# matrix, patch column fastest. Pixels outside of the image are the column after the last.
strided_patches <- function(g, images) {
  tap <- seq.int(0L, g$k - 1L)
  read <- function(out, side) {                                    # k x out, NA outside
    at <- outer(tap, seq.int(0L, out - 1L) * g$stride - g$padding, `+`)
    at[at < 0L | at >= side] <- NA
    at
  }
  pixel <- outer(read(g$out[1L], g$side[1L]), read(g$out[2L], g$side[2L]) * g$side[1L], `+`)
  pixel <- aperm(pixel, c(1L, 3L, 2L, 4L))                         # (v, u, out_w, out_h)
  pixels <- prod(g$side)
  patches <- outer(as.vector(pixel), (seq_len(images) - 1L) * pixels, `+`) + 1L
  patches[is.na(patches)] <- pixels * images + 1L
  matrix(as.integer(patches), nrow = g$k^2)
}

# work(block's columns of the input, its columns of the output, its patches) for each block
strided_each <- function(g, work) {
  columns <- function(images, side) {
    seq.int((images[1L] - 1L) * prod(side) + 1L, images[length(images)] * prod(side))
  }
  patches <- NULL
  for (images in g$blocks) {
    if (is.null(patches) || ncol(patches) != length(images) * prod(g$out)) {
      patches <- strided_patches(g, length(images))
    }
    work(columns(images, g$side), columns(images, g$out), patches)
  }
}

# C x (pixels, images) to O x (outputs, images), without the bias
strided_apply <- function(x, weight, g) {
  kernel <- conv2d_kernel(weight)
  y <- matrix(0, dim(weight)[1L], prod(g$out) * g$images)
  strided_each(g, function(pixels, outputs, patches) {
    y[, outputs] <<- kernel %*% im2col(x, pixels, patches)
  })
  y
}

strided_weight_gradient <- function(dy, x, weight, g) {
  d <- dim(weight)
  dw <- 0
  strided_each(g, function(pixels, outputs, patches) {
    dw <<- dw + tcrossprod(dy[, outputs, drop = FALSE], im2col(x, pixels, patches))
  })
  dim(dw) <- d[c(1L, 2L, 4L, 3L)]
  aperm(dw, c(1L, 2L, 4L, 3L))
}

# O x (outputs, images) to C x (pixels, images): each tap of the kernel sends W_tap' dy back to
# the pixels that it read (col2im). Within one tap all of them differ, but for those outside.
strided_adjoint <- function(dy, weight, g) {
  channels <- dim(weight)[2L]
  kernel <- conv2d_kernel(weight)
  dx <- matrix(0, channels, prod(g$side) * g$images)
  strided_each(g, function(pixels, outputs, patches) {
    columns <- crossprod(kernel, dy[, outputs, drop = FALSE])      # (C, k k) x outputs
    part <- matrix(0, channels, length(pixels) + 1L)
    for (tap in seq_len(nrow(patches))) {
      read <- patches[tap, ]
      rows <- (tap - 1L) * channels + seq_len(channels)
      part[, read] <- part[, read] + columns[rows, ]
    }
    dx[, pixels] <<- part[, seq_along(pixels)]
  })
  dx
}

im2col <- function(x, pixels, patches) {
  columns <- cbind(x[, pixels, drop = FALSE], 0)[, patches, drop = FALSE]
  dim(columns) <- c(nrow(x) * nrow(patches), ncol(patches))
  columns
}

channels_first <- function(x) {
  channels <- dim(x)[3L]
  matrix(aperm(x, c(3L, 1L, 2L, 4L)), nrow = channels)
}

channels_third <- function(x, side) {
  dim(x) <- c(nrow(x), side, ncol(x) %/% prod(side))
  aperm(x, c(2L, 3L, 1L, 4L))
}
