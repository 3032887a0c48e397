library(torch)
torch_set_num_threads(1)
torch_manual_seed(1)

net <- nn_module(
  "net",
  initialize = function() {
    self$fc1 <- nn_linear(20, 32)
    self$norm <- nn_batch_norm1d(32, eps = 1e-3)
    self$dropout <- nn_dropout(0.2)
    self$fc2 <- nn_linear(32, 5)
  },
  forward = function(x) {
    self$fc2(self$dropout(nnf_relu(self$norm(self$fc1(x)))))
  }
)

model <- net()
optimizer <- optim_sgd(model$parameters, lr = 0.1, momentum = 0.9, weight_decay = 0.01)

for (step in 1:20) {
  x <- torch_randn(64, 20)
  y <- torch_randint(1, 6, 64, dtype = torch_long())
  optimizer$zero_grad()
  loss <- nnf_cross_entropy(model(x), y)
  loss$backward()
  optimizer$step()
}
