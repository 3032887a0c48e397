# Adam: Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1,
# https://arxiv.org/abs/1412.6980:
#
#   m <- beta1 m + (1 - beta1) g              v <- beta2 v + (1 - beta2) g^2
#   theta <- theta - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
#
# in one of two orders of operations, which are rounded differently:
#
#   torch     PyTorch's (torch.optim.Adam):   m <- m + (1 - beta1) (g - m)
#   r-torch   R torch's (optim_adam in https://github.com/mlverse/torch, R/optim-adam.R): m as
#             above, and in v ((1 - beta2) g) g, as LibTorch's addcmul_ has it

adam_settings <- list(beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8)

adam_moments <- list(
  "torch" = function(m, v, g, beta1, beta2) {
    list(m = m + (1 - beta1) * (g - m), v = beta2 * v + (1 - beta2) * g^2)
  },
  "r-torch" = function(m, v, g, beta1, beta2) {
    list(m = beta1 * m + (1 - beta1) * g, v = beta2 * v + (1 - beta2) * g * g)
  }
)

adam_state <- function(parameters) {
  zeros <- lapply(parameters, function(theta) 0 * theta)
  list(t = 0, m = zeros, v = zeros)
}

# One step for all parameters; returns the new parameters and the new state.
adam_step <- function(parameters, gradients, state, learning_rate, settings = adam_settings,
                      order = "torch") {
  moments <- adam_moments[[match.arg(order, names(adam_moments))]]
  state$t <- state$t + 1
  correction1 <- 1 - settings$beta1^state$t
  correction2 <- 1 - settings$beta2^state$t
  for (name in names(parameters)) {
    new <- moments(state$m[[name]], state$v[[name]], gradients[[name]], settings$beta1,
                   settings$beta2)
    parameters[[name]] <- parameters[[name]] -
      (learning_rate / correction1) * new$m / (sqrt(new$v) / sqrt(correction2) + settings$epsilon)
    state$m[[name]] <- new$m
    state$v[[name]] <- new$v
  }
  list(parameters = parameters, state = state)
}
