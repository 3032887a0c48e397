# The network of the R article "VAE and EMAE" (recipe `conv`) with R torch's own modules, as the
# article writes it (after Schmon 2022, torch_R_examples), and both objectives.
#
#   encoder  conv1 1 -> 32, 3x3 | relu | conv2 32 -> 64, 3x3 | relu | max-pool 2 | dropout .25
#            | flatten 9216 | fc1 -> 128 | relu | dropout .5 | heads fc2 (mu), fc3 (log_var)
#   sample   z = mu + exp(log_var / 2) * noise                  Kingma & Welling (2014), section 2.4
#   decoder  fc1 -> 128 | relu | fc2 -> 128 | relu | 1x1 transposed convolutions conv1 -> 256
#            | relu | conv2 -> 784 | sigmoid
#
# draws is list(dropout1, dropout2, noise); what is absent is drawn by R torch itself, in the
# order of the network. Every result passes through see(x, name), so that a probe can look at it.

library(torch)

see_nothing <- function(x, name) x

encoder <- nn_module(
  "encoder",
  initialize = function(latent_dim) {
    self$conv1 <- nn_conv2d(1, 32, 3)
    self$conv2 <- nn_conv2d(32, 64, 3)
    self$dropout1 <- nn_dropout(0.25)
    self$dropout2 <- nn_dropout(0.5)
    self$fc1 <- nn_linear(9216, 128)
    self$fc2 <- nn_linear(128, latent_dim)
    self$fc3 <- nn_linear(128, latent_dim)
  },
  forward = function(x, draws = list(), see = see_nothing) {
    x <- torch_reshape(x, list(-1, 1, 28, 28))                     # n x 1 x 28 x 28
    x <- see(self$conv1(x), "encoder.conv1")                       # n x 32 x 26 x 26
    x <- see(nnf_relu(x), "encoder.relu1")
    x <- see(self$conv2(x), "encoder.conv2")                       # n x 64 x 24 x 24
    x <- see(nnf_relu(x), "encoder.relu2")
    x <- see(nnf_max_pool2d(x, 2), "encoder.pool")                 # n x 64 x 12 x 12
    x <- see(dropped(self$dropout1, x, draws$dropout1), "encoder.dropout1")
    x <- see(torch_flatten(x, start_dim = 2), "encoder.flatten")   # n x 9216
    x <- see(self$fc1(x), "encoder.fc1")                           # n x 128
    x <- see(nnf_relu(x), "encoder.relu3")
    x <- see(dropped(self$dropout2, x, draws$dropout2), "encoder.dropout2")
    list(mu = see(self$fc2(x), "encoder.fc2"),                     # n x latent_dim each
         log_var = see(self$fc3(x), "encoder.fc3"))
  }
)

# A dropout layer, with the mask (TRUE to keep) given or drawn.
dropped <- function(layer, x, keep = NULL) {
  if (is.null(keep)) layer(x) else x * (keep$to(dtype = x$dtype) / (1 - layer$p))
}

decoder <- nn_module(
  "decoder",
  initialize = function(latent_dim) {
    self$fc1 <- nn_linear(latent_dim, 128)
    self$fc2 <- nn_linear(128, 128)
    self$conv1 <- nn_conv_transpose2d(128, 256, 1)
    self$conv2 <- nn_conv_transpose2d(256, 784, 1)
  },
  forward = function(z, see = see_nothing) {
    x <- see(self$fc1(z), "decoder.fc1")                           # n x 128
    x <- see(nnf_relu(x), "decoder.relu1")
    x <- see(self$fc2(x), "decoder.fc2")
    x <- see(nnf_relu(x), "decoder.relu2")
    x <- torch_reshape(x, list(-1, 128, 1, 1))                     # n x 128 x 1 x 1
    x <- see(self$conv1(x), "decoder.conv1")                       # n x 256 x 1 x 1
    x <- see(nnf_relu(x), "decoder.relu3")
    x <- see(self$conv2(x), "decoder.conv2")                       # n x 784 x 1 x 1
    see(nnf_sigmoid(torch_reshape(x, list(-1, 784))), "decoder.sigmoid")
  }
)

conv_vae <- nn_module(
  "conv_vae",
  initialize = function(latent_dim) {
    self$encoder <- encoder(latent_dim)
    self$decoder <- decoder(latent_dim)
  },
  forward = function(x, draws = list(), see = see_nothing) {
    posterior <- self$encoder(x, draws, see)
    mu <- posterior$mu
    noise <- draws$noise
    if (is.null(noise)) noise <- torch_randn_like(mu)
    z <- see(mu + torch_exp(posterior$log_var$mul(0.5)) * noise, "reparameterise")
    list(pixels = self$decoder(z, see), mu = mu, log_var = posterior$log_var)
  }
)

# The article's losses, sums over pixels and images in nats: the reconstruction, and ...
binary_cross_entropy <- nn_bce_loss(reduction = "sum")

# ... the regulariser. $mul(0.5), not 0.5 * : of that R torch makes a float32 tensor of shape (1),
# and then the sum, of shape (), is rounded to float32.
torch_regularisers <- list(
  # KL(N(mu, exp(log_var)) || N(0, I)): Kingma & Welling (2014), appendix B
  vae = function(mu, log_var) {
    kl_div <- 1 + log_var - mu$pow(2) - log_var$exp()
    kl_div$sum()$mul(-0.5)
  },
  # the same without the posterior's entropy, as the article has it
  emae = function(mu, log_var) {
    musq <- mu$pow(2)
    musq$sum()$mul(0.5)
  },
  # the KL without exactly the posterior's entropy
  em = function(mu, log_var) {
    expected <- mu$pow(2) + log_var$exp()
    expected$sum()$mul(0.5)
  }
)
