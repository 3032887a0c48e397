# Element-wise layers and their gradients.
#
#   relu(x) = max(x, 0)                 relu'(x) = 1 where x > 0, else 0 (0 at 0, as torch has it)
#   sigmoid(x) = 1 / (1 + exp(-x))      sigmoid' = y (1 - y) with y = sigmoid(x)
#
#   dropout(x) = x keep / (1 - p)       keep is TRUE with probability 1 - p: "inverted" dropout,
#                                       so that nothing is to be rescaled in evaluation mode
#
# Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov (2014), "Dropout: a simple way to
# prevent neural networks from overfitting", Journal of Machine Learning Research 15.
# keep comes from outside: it is one of the draws that both languages share. keep = NULL is
# evaluation mode, where dropout does nothing.

relu_forward <- function(x) 0.5 * (x + abs(x))                     # exact, and faster than x (x > 0)

relu_backward <- function(dy, y) dy * (y > 0)

sigmoid_forward <- function(x) 1 / (1 + exp(-x))

sigmoid_backward <- function(dy, y) dy * ((1 - y) * y)

dropout <- function(x, keep, p) if (is.null(keep)) x else x * (keep / (1 - p))
