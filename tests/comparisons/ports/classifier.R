# A classifier in base R, with SGD and momentum, that records its first steps.
# Rscript classifier.R FOLDER-OF-THE-R-PACKAGE TRACE

given <- commandArgs(trailingOnly = TRUE)
for (file in c("write_trace.R", "write_program_trace.R")) source(file.path(given[[1]], "R", file))

set.seed(1)
classes <- rep(1:3, each = 20)
points <- cbind(c(0, 2, 1)[classes], c(0, 0, 2)[classes]) + 0.5 * matrix(rnorm(120), 60)
initial <- function(rows, columns) matrix(runif(rows * columns, -1, 1) / sqrt(columns), rows)
parameters <- list(hidden.weight = initial(8, 2), hidden.bias = runif(8, -0.5, 0.5),
                   out.weight = initial(3, 8), out.bias = runif(3, -0.3, 0.3))
velocity <- lapply(parameters, function(p) 0 * p)
lr <- 0.1
momentum <- 0.9

linear <- function(x, weight, bias) sweep(x %*% t(weight), 2, bias, "+")
softmax <- function(z) exp(z) / rowSums(exp(z))

step <- function(x, y) {
  start <- parameters
  hidden <- linear(x, start$hidden.weight, start$hidden.bias)
  h <- tanh(hidden)
  out <- linear(h, start$out.weight, start$out.bias)
  p <- softmax(out)
  right <- cbind(seq_along(y), y)
  loss <- -mean(log(p[right]))

  dout <- p
  dout[right] <- dout[right] - 1
  dout <- dout / length(y)
  dh <- dout %*% start$out.weight
  dhidden <- dh * (1 - h^2)
  gradient <- list(hidden.weight = t(dhidden) %*% x, hidden.bias = colSums(dhidden),
                   out.weight = t(dout) %*% h, out.bias = colSums(dout))
  velocity <<- Map(function(v, g) momentum * v + g, velocity, gradient)
  parameters <<- Map(function(p, v) p - lr * v, parameters, velocity)

  list(start = start,
       forward = list(x = x, hidden = hidden, tanh = h, out = out, y = y, loss = loss),
       gradient = c(list(hidden = dhidden, tanh = dh, out = dout), gradient), loss = loss,
       state = list(momentum_buffer = velocity), parameter = parameters)
}

batches <- split(sample(60), rep(1:4, each = 15))
steps <- lapply(batches, function(rows) step(points[rows, ], classes[rows]))

write_program_trace(
  given[[2]], "base-r",
  stages = list(
    stage("x", "input"),
    stage("hidden", "linear", "x", list(in_features = 2, out_features = 8, bias = TRUE),
          c(weight = "hidden.weight", bias = "hidden.bias")),
    stage("tanh", "tanh", "hidden"),
    stage("out", "linear", "tanh", list(in_features = 8, out_features = 3, bias = TRUE),
          c(weight = "out.weight", bias = "out.bias")),
    stage("y", "input"),
    stage("loss", "cross_entropy_loss", c("out", "y"), list(reduction = "mean"))),
  steps = steps,
  optimiser = list(kind = "sgd", settings = list(lr = 0.1, momentum = 0.9)))
