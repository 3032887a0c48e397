# Classifies texts: embedding, a bidirectional LSTM, the mean over time, AdamW.

library(torch)

torch_set_num_threads(1)
torch_manual_seed(2)

text_classifier <- nn_module(
  "text_classifier",
  initialize = function(words = 500, classes = 4) {
    self$embedding <- nn_embedding(words, 32)
    self$lstm <- nn_lstm(32, 48, batch_first = TRUE, bidirectional = TRUE)
    self$dropout <- nn_dropout(0.3)
    self$fc <- nn_linear(96, classes)
  },
  forward = function(tokens) {
    states <- self$lstm(self$embedding(tokens))[[1]]
    self$fc(self$dropout(states$mean(dim = 2)))
  }
)

model <- text_classifier()
optimizer <- optim_adamw(model$parameters, lr = 1e-3, weight_decay = 0.01)

model$train()
for (step in 1:10) {
  tokens <- torch_randint(1, 501, c(24, 20), dtype = torch_long())
  label <- torch_randint(1, 5, 24, dtype = torch_long())
  optimizer$zero_grad()
  loss <- nnf_cross_entropy(model(tokens), label)
  loss$backward()
  optimizer$step()
}
