# A program's trace as write_program_trace() takes it: one linear layer, one step.

program_example <- function(...) {
  x <- matrix(c(1, 2, 3, 4, 5, 6), 3)
  target <- matrix(c(1, 0, 1), 3)
  start <- list(fc.weight = matrix(c(0.1, -0.2), 1), fc.bias = 0.3)
  y <- x %*% t(start$fc.weight) + start$fc.bias
  loss <- mean((y - target)^2)
  dy <- 2 * (y - target) / length(y)
  gradient <- list(fc.weight = t(dy) %*% x, fc.bias = sum(dy))
  velocity <- gradient
  parameter <- Map(function(p, v) p - 0.1 * v, start, velocity)
  example <- list(
    engine = "base-r",
    stages = list(
      stage("x", "input"),
      stage("fc", "linear", "x", parameters = c(weight = "fc.weight", bias = "fc.bias")),
      stage("target", "input"),
      stage("mse", "mse_loss", c("fc", "target"), list(reduction = "mean"))),
    steps = list(list(
      start = start, forward = list(x = x, fc = y, target = target, mse = loss), loss = loss,
      gradient = c(list(fc = dy), gradient), state = list(momentum_buffer = velocity),
      parameter = parameter)),
    optimiser = list(kind = "sgd", settings = list(lr = 0.1, momentum = 0.9)))
  changed <- list(...)
  example[names(changed)] <- changed
  example
}

write_program_example <- function(..., folder = tempfile()) {
  do.call(write_program_trace, c(list(folder), program_example(...)))
}

# Changes of the example's one step.
with_step <- function(...) {
  step <- program_example()$steps[[1L]]
  changed <- list(...)
  step[names(changed)] <- changed
  list(step)
}
