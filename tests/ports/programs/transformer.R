# A transformer encoder: layer norm, attention, GELU, residuals, clipped gradients.

library(torch)

torch_set_num_threads(1)
torch_manual_seed(3)

block <- nn_module(
  "block",
  initialize = function(width, heads) {
    self$norm1 <- nn_layer_norm(width)
    self$attention <- nn_multihead_attention(width, heads)
    self$norm2 <- nn_layer_norm(width)
    self$fc1 <- nn_linear(width, 4 * width)
    self$fc2 <- nn_linear(4 * width, width)
    self$dropout <- nn_dropout(0.1)
  },
  forward = function(x) {
    h <- self$norm1(x)
    x <- x + self$dropout(self$attention(h, h, h)[[1]])
    h <- self$fc2(nnf_gelu(self$fc1(self$norm2(x))))
    x + self$dropout(h)
  }
)

encoder <- nn_module(
  "encoder",
  initialize = function(words = 200, length = 16, width = 32, classes = 5) {
    self$embedding <- nn_embedding(words, width)
    self$position <- nn_parameter(torch_randn(length, 1, width))
    self$block1 <- block(width, 4)
    self$block2 <- block(width, 4)
    self$norm <- nn_layer_norm(width)
    self$fc <- nn_linear(width, classes)
  },
  forward = function(tokens) {
    x <- self$embedding(tokens)$transpose(1, 2) + self$position
    x <- self$block2(self$block1(x))
    self$fc(self$norm(x)$mean(dim = 1))
  }
)

model <- encoder()
optimizer <- optim_sgd(model$parameters, lr = 0.1, momentum = 0.9, nesterov = TRUE)

model$train()
for (step in 1:10) {
  tokens <- torch_randint(1, 201, c(12, 16), dtype = torch_long())
  label <- torch_randint(1, 6, 12, dtype = torch_long())
  optimizer$zero_grad()
  loss <- nnf_cross_entropy(model(tokens), label)
  loss$backward()
  nn_utils_clip_grad_norm_(model$parameters, 0.5)
  optimizer$step()
}
