# Softmax over classes, and the Gumbel-softmax sample of a categorical distribution; gradients.
#
#   softmax(x)_k = exp(x_k) / sum_j exp(x_j)             dL/dx = y (dy - sum_j dy_j y_j)
#
#   gumbel_softmax(pi) = softmax((log(pi + 1e-20) + g) / tau)      g from Gumbel(0, 1)
#
# Jang, Gu & Poole (2017), "Categorical reparameterization with Gumbel-softmax", section 2,
# https://arxiv.org/abs/1611.01144; Maddison, Mnih & Teh (2017), "The concrete distribution",
# https://arxiv.org/abs/1611.00712. 1e-20 keeps the logarithm finite. g comes from outside: it is
# one of the draws that both languages share. g = NULL is evaluation mode: pi itself.
#
# x, pi and g are (classes, images).

class_epsilon <- 1e-20

log_softmax <- function(x) {
  x <- x - rep(apply(x, 2L, max), each = nrow(x))
  x - rep(log(colSums(exp(x))), each = nrow(x))
}

softmax_forward <- function(x) {
  y <- exp(x - rep(apply(x, 2L, max), each = nrow(x)))
  y / rep(colSums(y), each = nrow(x))
}

softmax_backward <- function(dy, y) y * (dy - rep(colSums(dy * y), each = nrow(y)))

gumbel_softmax_forward <- function(pi, g, temperature) {
  if (is.null(g)) pi else softmax_forward((log(pi + class_epsilon) + g) / temperature)
}

gumbel_softmax_backward <- function(dy, y, pi, g, temperature) {
  if (is.null(g)) dy else softmax_backward(dy, y) / temperature / (pi + class_epsilon)
}
