# Two-dimensional convolution and transposed convolution with any stride s and padding p (square
# kernels of side k), and their gradients.
#
#   conv2d       y[o, i, j] = b[o] + sum_{c, u, v} W[o, c, u, v] x[c, s i + u - p, s j + v - p]
#                x is 0 outside of the image; sides  out = floor((side + 2 p - k) / s) + 1
#   transposed   y[c, s i + u - p, s j + v - p] += W[o, c, u, v] x[o, i, j], then + b[c]
#                sides  out = (side - 1) s - 2 p + k
#
# i and u run down the rows, j and v along the columns; the kernel is not flipped (a
# cross-correlation), as in torch (?nn_conv2d, ?nn_conv_transpose2d). The transposed convolution is
# conv2d's gradient with respect to its input, and so conv2d is the transposed one's: Dumoulin &
# Visin (2016), "A guide to convolution arithmetic for deep learning", sections 2 and 4,
# https://arxiv.org/abs/1603.07285.
#
# Maps c(C, W, H, N) (maps.R) are matrices with one row per channel and one column per pixel, so
# that every patch is a gather of whole columns, and a convolution is one matrix product
# (Chellapilla, Puri & Simard, 2006, "im2col"). Pixels outside of the image are one more column, of
# zeros. Some images are worked on at a time: their patches are to stay small.

conv2d_block <- 2^23                                               # numbers in one block's patches

# With the patches of x, if they are one block, for the backward pass.
conv2d_forward <- function(x, weight, bias, stride = 1L, padding = 0L) {
  g <- conv2d_geometry(dim(x), dim(weight), stride, padding)
  applied <- conv2d_apply(by_pixel(x), weight, g, if (is.null(bias)) 0 else as.vector(bias))
  list(y = by_map(applied$y, g$out), columns = applied$columns)
}

# wanted = FALSE leaves dL/dx out.
conv2d_backward <- function(dy, x, weight, stride = 1L, padding = 0L, wanted = TRUE,
                            columns = NULL) {
  g <- conv2d_geometry(dim(x), dim(weight), stride, padding)
  dy <- by_pixel(dy)
  list(x = if (wanted) by_map(conv2d_adjoint(dy, weight, g), g$side),
       weight = conv2d_weight_gradient(dy, by_pixel(x), weight, g, columns),
       bias = conv2d_bias_gradient(dy))
}

# The weight is (channels of x, channels of y, k, k), as torch has it.
conv_transpose2d_forward <- function(x, weight, bias, stride = 1L, padding = 0L) {
  g <- conv2d_geometry(transposed_size(dim(x), dim(weight), stride, padding), dim(weight),
                       stride, padding)
  by_map(conv2d_add(conv2d_adjoint(by_pixel(x), weight, g), bias), g$side)
}

conv_transpose2d_backward <- function(dy, x, weight, stride = 1L, padding = 0L) {
  g <- conv2d_geometry(dim(dy), dim(weight), stride, padding)
  dy <- by_pixel(dy)
  applied <- conv2d_apply(dy, weight, g)
  list(x = by_map(applied$y, g$out),
       weight = conv2d_weight_gradient(by_pixel(x), dy, weight, g, applied$columns),
       bias = conv2d_bias_gradient(dy))
}

conv2d_add <- function(y, bias) if (is.null(bias)) y else y + as.vector(bias)

conv2d_bias_gradient <- function(dy) as.vector(dy %*% rep(1, ncol(dy)))     # rowSums() takes longer

transposed_size <- function(size, kernel, stride, padding) {
  side <- (size[2:3] - 1L) * stride - 2L * padding + kernel[3L]
  c(kernel[2L], side, size[4L])
}

# What conv2d does to maps of that size; blocks of images by the size of their patches.
conv2d_geometry <- function(size, kernel, stride, padding) {
  side <- as.integer(size[2:3])
  out <- as.integer((side + 2L * padding - kernel[3L]) %/% stride + 1L)
  if (size[1L] != kernel[2L] || any(out < 1L)) {
    stop(sprintf("maps are %s (channel, column, row, image) and the kernel is %s, stride %d, ",
                 paste(size, collapse = " x "), paste(kernel, collapse = " x "), stride),
         "padding ", padding, "; expected ", kernel[2L], " channels, no smaller than the kernel")
  }
  images <- as.integer(size[4L])
  block <- max(1, conv2d_block %/% (prod(kernel[-1L]) * prod(out)))
  list(side = side, out = out, k = kernel[3L], stride = stride, padding = padding, images = images,
       plain = kernel[3L] == 1L && stride == 1L && padding == 0L,
       blocks = split(seq_len(images), (seq_len(images) - 1L) %/% block))
}

# Which columns of a block hold the k x k patch below each output pixel: a k*k x outputs integer
# matrix, patch column fastest. Pixels outside of the image are the column after the last. What
# depends on sizes alone is computed once.
conv2d_patches <- local({
  known <- list()
  function(g, images) {
    key <- paste(c(g$side, g$k, g$stride, g$padding, images), collapse = " ")
    if (is.null(known[[key]])) {
      if (length(known) > 50L) known <<- list()
      known[[key]] <<- conv2d_find_patches(g, images)
    }
    known[[key]]
  }
})

conv2d_find_patches <- function(g, images) {
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

# work(block's columns of the input, its columns of the output, its patches) for each block; NULL
# for columns where there is but one block.
conv2d_each <- function(g, work) {
  if (length(g$blocks) == 1L) return(work(NULL, NULL, conv2d_patches(g, g$images)))
  columns <- function(images, side) {
    seq.int((images[1L] - 1L) * prod(side) + 1L, images[length(images)] * prod(side))
  }
  for (images in g$blocks) {
    work(columns(images, g$side), columns(images, g$out), conv2d_patches(g, length(images)))
  }
}

# C x (pixels, images) to O x (outputs, images); and the patches, if they are one block. R adds in
# place what is added to a product as it comes.
conv2d_apply <- function(x, weight, g, bias = 0) {
  kernel <- conv2d_kernel(weight)
  if (g$plain) return(list(y = kernel %*% x + bias, columns = x))
  if (length(g$blocks) == 1L) {
    columns <- im2col(x, NULL, conv2d_patches(g, g$images), g$padding)
    return(list(y = kernel %*% columns + bias, columns = columns))
  }
  y <- matrix(0, dim(weight)[1L], prod(g$out) * g$images)
  conv2d_each(g, function(pixels, outputs, patches) {
    y[, outputs] <<- kernel %*% im2col(x, pixels, patches, g$padding) + bias
  })
  list(y = y)
}

conv2d_weight_gradient <- function(dy, x, weight, g, columns = NULL) {
  d <- dim(weight)
  if (!is.null(columns)) {
    dw <- tcrossprod(dy, columns)
  } else if (g$plain) {
    dw <- tcrossprod(dy, x)
  } else {
    dw <- 0
    conv2d_each(g, function(pixels, outputs, patches) {
      part <- if (is.null(outputs)) dy else dy[, outputs, drop = FALSE]
      dw <<- dw + tcrossprod(part, im2col(x, pixels, patches, g$padding))
    })
  }
  dim(dw) <- d[c(1L, 2L, 4L, 3L)]
  if (d[3L] == 1L) dw else aperm(dw, c(1L, 2L, 4L, 3L))
}

# O x (outputs, images) to C x (pixels, images): each tap of the kernel sends W_tap' dy back to
# the pixels that it read (col2im). Within one tap all of them differ, but for those outside.
conv2d_adjoint <- function(dy, weight, g) {
  channels <- dim(weight)[2L]
  kernel <- conv2d_kernel(weight)
  if (g$plain) return(crossprod(kernel, dy))
  back <- function(dy, patches, pixels) {
    dx <- matrix(0, channels, pixels + (g$padding > 0L))
    for (tap in seq_len(nrow(patches))) {
      read <- patches[tap, ]
      rows <- (tap - 1L) * channels + seq_len(channels)
      part <- crossprod(kernel[, rows, drop = FALSE], dy)
      dx[, read] <- if (tap == 1L) part else dx[, read] + part
    }
    if (g$padding > 0L) dx[, seq_len(pixels), drop = FALSE] else dx
  }
  if (length(g$blocks) == 1L) {
    return(back(dy, conv2d_patches(g, g$images), prod(g$side) * g$images))
  }
  dx <- matrix(0, channels, prod(g$side) * g$images)
  conv2d_each(g, function(pixels, outputs, patches) {
    dx[, pixels] <<- back(dy[, outputs, drop = FALSE], patches, length(pixels))
  })
  dx
}

im2col <- function(x, pixels, patches, padding) {
  if (!is.null(pixels)) x <- x[, pixels, drop = FALSE]
  if (padding > 0L) x <- cbind(x, 0)
  columns <- x[, patches, drop = FALSE]
  dim(columns) <- c(nrow(x) * nrow(patches), ncol(patches))
  columns
}

# W[o, c, u, v] as a matrix, one row per output channel, with columns in patch order:
# channel fastest, then the patch's column v, then its row u.
conv2d_kernel <- function(weight) {
  d <- dim(weight)
  if (d[3L] > 1L) weight <- aperm(weight, c(1L, 2L, 4L, 3L))
  dim(weight) <- c(d[1L], prod(d[-1L]))
  weight
}

# c(C, W, H, N) as C x (W, H, N), and back.
by_pixel <- function(x) {
  dim(x) <- c(dim(x)[1L], prod(dim(x)[-1L]))
  x
}

by_map <- function(x, side) {
  dim(x) <- c(nrow(x), side, ncol(x) %/% prod(side))
  x
}
