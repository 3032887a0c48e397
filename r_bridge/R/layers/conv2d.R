# Two-dimensional convolution, stride 1, no padding, and its gradients.
#
#   y[o, i, j, n] = b[o] + sum_{c, u, v} W[o, c, u, v] x[c, i + u, j + v, n]
#
# i and u run down the rows of the image, j and v along its columns; the kernel is not
# flipped (a cross-correlation), as in torch: ?nn_conv2d, and Dumoulin & Visin (2016),
# "A guide to convolution arithmetic for deep learning", sections 2 and 4,
# https://arxiv.org/abs/1603.07285.
#
# Layout. Feature maps are matrices with one row per channel and one column per pixel:
# the pixel's column (within its row) runs fastest, then its row, then the image. With the
# channel fastest, every patch is a gather of whole columns, and a convolution is one
# matrix product (Chellapilla, Puri & Simard, 2006, "im2col").

# Which columns of x hold the k x k patch below each output pixel: a k*k x outputs integer
# matrix, patch column fastest.
#
# `windows`, the side of the pooling window that follows, orders the outputs so that all
# pixels in the first corner of their window come first, then all in the second, and so on:
# max_pool2d() then compares plain columns. With windows = 1 outputs are in the usual order.
conv2d_patches <- function(width, height, images, k, windows = 1L) {
  out_w <- width - k + 1L
  out_h <- height - k + 1L
  left <- seq.int(0L, out_w - 1L)
  top <- seq.int(0L, out_h - 1L)
  image <- (seq_len(images) - 1L) * width * height

  corner <- outer(outer(left, top * width, `+`), image, `+`)       # (out_w, out_h, images)
  if (windows > 1L) {
    dim(corner) <- c(windows, out_w %/% windows, windows, out_h %/% windows, images)
    corner <- aperm(corner, c(2L, 4L, 5L, 1L, 3L))                 # corner of the window last
  }
  offset <- outer(seq.int(0L, k - 1L), seq.int(0L, k - 1L) * width, `+`)
  patches <- outer(as.vector(offset), as.vector(corner), `+`) + 1L
  storage.mode(patches) <- "integer"
  patches
}

# W[o, c, u, v] as a matrix, one row per output channel, with columns in patch order:
# channel fastest, then the patch's column v, then its row u.
conv2d_kernel <- function(weight) {
  d <- dim(weight)
  matrix(aperm(weight, c(1L, 2L, 4L, 3L)), nrow = d[1L])
}

conv2d_forward <- function(x, weight, bias, patches) {
  columns <- x[, patches, drop = FALSE]
  dim(columns) <- c(nrow(x) * nrow(patches), ncol(patches))        # im2col
  list(y = conv2d_kernel(weight) %*% columns + bias,               # channel fastest: bias recycles
       columns = columns)
}

# dL/dW and dL/db from dy = dL/dy:  dW = dy columns',  db = row sums of dy.
conv2d_parameter_gradients <- function(dy, columns, weight) {
  d <- dim(weight)
  dw <- tcrossprod(dy, columns)
  dim(dw) <- c(d[1L], d[2L], d[4L], d[3L])
  list(weight = aperm(dw, c(1L, 2L, 4L, 3L)), bias = rowSums(dy))
}

# dL/dx: each tap of the kernel sends W_tap' dy back to the pixels that it read (col2im).
# Within one tap all pixels differ, so adding by index is safe.
conv2d_input_gradient <- function(dy, weight, patches, pixels) {
  d <- dim(weight)
  kernel <- conv2d_kernel(weight)
  dx <- matrix(0, d[2L], pixels)
  for (tap in seq_len(nrow(patches))) {
    read <- patches[tap, ]
    rows <- (tap - 1L) * d[2L] + seq_len(d[2L])
    dx[, read] <- dx[, read] + crossprod(kernel[, rows, drop = FALSE], dy)
  }
  dx
}
