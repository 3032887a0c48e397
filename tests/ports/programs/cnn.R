# Classifies images: batch norm, dropout, cross entropy, SGD with momentum and a schedule.

library(torch)

torch_set_num_threads(1)
torch_manual_seed(1)

net <- nn_module(
  "net",
  initialize = function(classes = 10) {
    self$features <- nn_sequential(
      nn_conv2d(3, 16, 3, padding = 1), nn_batch_norm2d(16), nn_relu(), nn_max_pool2d(2),
      nn_conv2d(16, 32, 3, padding = 1), nn_batch_norm2d(32), nn_relu(), nn_max_pool2d(2)
    )
    self$classifier <- nn_sequential(
      nn_flatten(), nn_linear(32 * 8 * 8, 64), nn_relu(), nn_dropout(0.5),
      nn_linear(64, classes)
    )
  },
  forward = function(x) {
    self$classifier(self$features(x))
  }
)

model <- net()
criterion <- nn_cross_entropy_loss()
optimizer <- optim_sgd(model$parameters, lr = 0.05, momentum = 0.9)
schedule <- lr_step(optimizer, step_size = 4, gamma = 0.5)

model$train()
for (step in 1:10) {
  x <- torch_randn(32, 3, 32, 32)
  y <- torch_randint(1, 11, 32, dtype = torch_long())
  optimizer$zero_grad()
  loss <- criterion(model(x), y)
  loss$backward()
  optimizer$step()
  schedule$step()
}
