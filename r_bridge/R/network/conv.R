# The network of the R article "VAE and EMAE" (recipe `conv`) for a run in R alone, where no Python
# derives it from the recipe: the same stages (tests/r_bridge/R/network/test_conv.py).
#
#   encoder  conv1 1 -> 32, 3x3 | relu | conv2 32 -> 64, 3x3 | relu | max-pool 2 | dropout .25
#            | flatten 9216 | fc1 -> 128 | relu | dropout .5 | heads fc2 (mu), fc3 (log_var)
#   sample   z = mu + exp(log_var / 2) * noise                  Kingma & Welling (2014), section 2.4
#   decoder  fc1 -> 128 | relu | fc2 -> 128 | relu | 1x1 transposed convolutions conv1 -> 256
#            | relu | conv2 -> 784 | sigmoid

# A session of its own chance, of whichever interpreter is there; `...`: what it alone is asked.
conv_session <- function(objective, learning_rate, latent_dim, seed, ...) {
  session_start(conv_stages(objective), NULL, learning_rate,
                c("total", "reconstruction", "regulariser"), "reparameterise", "decoder.sigmoid",
                conv_layers(latent_dim), conv_draws(latent_dim), seed, ...)
}

conv_stages <- function(objective) {
  stage <- function(name, layer, inputs, draw = "", shapes = list(), ...) {
    list(name = name, layer = layer, inputs = inputs, draw = draw, options = list(...),
         shapes = shapes)
  }
  plain <- function(name, layer, input, shape = NULL) {
    stage(name, layer, input, shapes = if (!is.null(shape)) list(shape) else list(), stride = 1,
          padding = 0)
  }
  heads <- c("encoder.fc2", "encoder.fc3")
  regulariser <- c(vae = "kl_normal", emae = "half_mu_squared", em = "expected_prior")
  list(
    stage("input", "input", character()),
    plain("encoder.conv1", "conv2d", "input", c(1, 28, 28)),
    stage("encoder.relu1", "relu", "encoder.conv1"),
    plain("encoder.conv2", "conv2d", "encoder.relu1"),
    stage("encoder.relu2", "relu", "encoder.conv2"),
    stage("encoder.pool", "max_pool2d", "encoder.relu2"),
    stage("encoder.dropout1", "dropout", "encoder.pool", "dropout1", p = 0.25),
    stage("encoder.flatten", "flatten", "encoder.dropout1"),
    stage("encoder.fc1", "linear", "encoder.flatten"),
    stage("encoder.relu3", "relu", "encoder.fc1"),
    stage("encoder.dropout2", "dropout", "encoder.relu3", "dropout2", p = 0.5),
    stage("encoder.fc2", "linear", "encoder.dropout2"),            # mu
    stage("encoder.fc3", "linear", "encoder.dropout2"),            # log_var
    stage("reparameterise", "reparameterise", heads, "noise"),
    stage("decoder.fc1", "linear", "reparameterise"),
    stage("decoder.relu1", "relu", "decoder.fc1"),
    stage("decoder.fc2", "linear", "decoder.relu1"),
    stage("decoder.relu2", "relu", "decoder.fc2"),
    plain("decoder.conv1", "conv_transpose2d", "decoder.relu2", c(128, 1, 1)),
    stage("decoder.relu3", "relu", "decoder.conv1"),
    plain("decoder.conv2", "conv_transpose2d", "decoder.relu3"),
    stage("decoder.sigmoid", "sigmoid", "decoder.conv2", shapes = list(784)),
    stage("reconstruction", "bce", c("decoder.sigmoid", "input"), per = "sum"),
    stage("regulariser", regulariser[[objective]], heads, per = "sum"),
    stage("total", "sum", c("reconstruction", "regulariser"), weights = c(1, 1))
  )
}

# The shapes of every layer's parameters, in the order in which torch creates them.
conv_layers <- function(latent_dim) {
  list(encoder.conv1 = list(weight = c(32L, 1L, 3L, 3L), bias = 32L),
       encoder.conv2 = list(weight = c(64L, 32L, 3L, 3L), bias = 64L),
       encoder.fc1 = list(weight = c(128L, 9216L), bias = 128L),
       encoder.fc2 = list(weight = c(latent_dim, 128L), bias = latent_dim),
       encoder.fc3 = list(weight = c(latent_dim, 128L), bias = latent_dim),
       decoder.fc1 = list(weight = c(128L, latent_dim), bias = 128L),
       decoder.fc2 = list(weight = c(128L, 128L), bias = 128L),
       decoder.conv1 = list(weight = c(128L, 256L, 1L, 1L), bias = 256L),   # inputs first
       decoder.conv2 = list(weight = c(256L, 784L, 1L, 1L), bias = 784L))
}

conv_draws <- function(latent_dim) {
  list(dropout1 = list(kind = "keep", columns = 9216L, p = 0.25),
       dropout2 = list(kind = "keep", columns = 128L, p = 0.5),
       noise = list(kind = "normal", columns = latent_dim))
}
