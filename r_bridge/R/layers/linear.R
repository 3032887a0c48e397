# Fully connected layer and its gradients. x has one row per image.
#
#   y = x W' + 1 b'          W is outputs x inputs, as in torch (?nn_linear)
#
#   dL/dx = dy W      dL/dW = dy' x      dL/db = column sums of dy
#
# Goodfellow, Bengio & Courville (2016), "Deep Learning", section 6.5.
#
# A transposed convolution with a 1 x 1 kernel on a 1 x 1 image is the same map with its
# weight stored inputs x outputs (?nn_conv_transpose2d): y = x W + 1 b'.

linear_forward <- function(x, weight, bias) {
  tcrossprod(x, weight) + rep(bias, each = nrow(x))
}

linear_backward <- function(dy, x, weight) {
  list(x = dy %*% weight, weight = crossprod(dy, x), bias = colSums(dy))
}

conv_transpose1x1_forward <- function(x, weight, bias) {
  x %*% as_matrix(weight) + rep(bias, each = nrow(x))
}

conv_transpose1x1_backward <- function(dy, x, weight) {
  dw <- crossprod(x, dy)
  dim(dw) <- dim(weight)
  list(x = tcrossprod(dy, as_matrix(weight)), weight = dw, bias = colSums(dy))
}

# A (inputs, outputs, 1, 1) kernel as an inputs x outputs matrix.
as_matrix <- function(weight) {
  dim(weight) <- dim(weight)[1:2]
  weight
}
