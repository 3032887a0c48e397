# A mean teacher: it follows the model by a moving average, whose decay grows, and evaluates.

library(torch)

torch_set_num_threads(1)
torch_manual_seed(4)

student <- nn_module(
  "student",
  initialize = function() {
    self$fc1 <- nn_linear(8, 24)
    self$norm <- nn_layer_norm(24)
    self$fc2 <- nn_linear(24, 3)
  },
  forward = function(x) {
    self$fc2(torch_tanh(self$norm(self$fc1(x))))
  }
)

model <- student()
ema <- model$clone(deep = TRUE)
ema$eval()
optimizer <- optim_sgd(model$parameters, lr = 0.1, momentum = 0.9)

for (step in 1:10) {
  x <- torch_rand(32, 8)
  noise <- torch_rand(32, 8)
  target <- with_no_grad(nnf_softmax(ema(x), dim = 2))
  optimizer$zero_grad()
  loss <- nnf_mse_loss(nnf_softmax(model(x + noise), dim = 2), target)
  loss$backward()
  optimizer$step()
  decay <- min(1 - 1 / (step + 1), 0.9)
  with_no_grad({
    for (name in names(ema$parameters)) {
      kept <- ema$parameters[[name]]
      kept$copy_(decay * kept + (1 - decay) * model$parameters[[name]])
    }
  })
}
