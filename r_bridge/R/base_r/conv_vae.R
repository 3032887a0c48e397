# The network of the R article "VAE and EMAE" (recipe `conv`), forward and backward.
#
#   encoder  conv1 1 -> 32, 3x3 | relu | conv2 32 -> 64, 3x3 | relu | max-pool 2 | dropout .25
#            | flatten 9216 | fc1 -> 128 | relu | dropout .5 | heads fc2 (mu), fc3 (log_var)
#   sample   z = mu + exp(log_var / 2) * noise                  Kingma & Welling (2014), section 2.4
#   decoder  fc1 -> 128 | relu | fc2 -> 128 | relu | 1x1 transposed convolutions conv1 -> 256
#            | relu | conv2 -> 784 | sigmoid
#
# p is a named list of parameters, with torch's names and index order ("encoder.conv1.weight"
# is (32, 1, 3, 3)). x has one image per row, 784 pixels in [0, 1], row by row of the image.
# draws is list(dropout1, dropout2, noise); each may be NULL: no dropout, z = mu.

conv_vae_side <- 28L

# Patch indices depend on the number of images alone: computed once for each number.
conv_vae_patches <- local({
  known <- list()
  function(images) {
    key <- as.character(images)
    if (is.null(known[[key]])) {
      known[[key]] <<- list(
        conv1 = conv2d_patches(conv_vae_side, conv_vae_side, images, 3L),
        conv2 = conv2d_patches(conv_vae_side - 2L, conv_vae_side - 2L, images, 3L, windows = 2L)
      )
    }
    known[[key]]
  }
})

conv_vae_encode <- function(p, x, dropout1 = NULL, dropout2 = NULL) {
  n <- nrow(x)
  patches <- conv_vae_patches(n)
  pixels <- matrix(t(x), nrow = 1L)                                # one channel, pixel by pixel
  conv1 <- conv2d_forward(pixels, p$encoder.conv1.weight, p$encoder.conv1.bias, patches$conv1)
  relu1 <- relu_forward(conv1$y)                                   # 32 x (26, 26, n)
  conv2 <- conv2d_forward(relu1, p$encoder.conv2.weight, p$encoder.conv2.bias, patches$conv2)
  relu2 <- relu_forward(conv2$y)                                   # 64 x (12, 12, n, 4 corners)
  pool <- max_pool2d_forward(relu2)                                # 64 x (12, 12, n)
  dropped1 <- dropout(pool$y, as_map(dropout1), 0.25)              # 64 x (12, 12, n)
  flat <- flatten(dropped1, n)                                     # n x 9216
  fc1 <- linear_forward(flat, p$encoder.fc1.weight, p$encoder.fc1.bias)
  relu3 <- relu_forward(fc1)                                       # n x 128
  dropped2 <- dropout(relu3, dropout2, 0.5)
  list(mu = linear_forward(dropped2, p$encoder.fc2.weight, p$encoder.fc2.bias),
       log_var = linear_forward(dropped2, p$encoder.fc3.weight, p$encoder.fc3.bias),
       conv1 = conv1$y, conv1_columns = conv1$columns, relu1 = relu1, conv2 = conv2$y,
       conv2_columns = conv2$columns, relu2 = relu2, pool = pool$y, winner = pool$winner,
       dropped1 = dropped1, flat = flat, fc1 = fc1, relu3 = relu3, dropped2 = dropped2)
}

conv_vae_decode <- function(p, z) {
  fc1 <- linear_forward(z, p$decoder.fc1.weight, p$decoder.fc1.bias)
  relu1 <- relu_forward(fc1)                                       # n x 128
  fc2 <- linear_forward(relu1, p$decoder.fc2.weight, p$decoder.fc2.bias)
  relu2 <- relu_forward(fc2)                                       # n x 128
  conv1 <- conv_transpose1x1_forward(relu2, p$decoder.conv1.weight, p$decoder.conv1.bias)
  relu3 <- relu_forward(conv1)                                     # n x 256
  conv2 <- conv_transpose1x1_forward(relu3, p$decoder.conv2.weight, p$decoder.conv2.bias)
  list(fc1 = fc1, relu1 = relu1, fc2 = fc2, relu2 = relu2, conv1 = conv1, relu3 = relu3,
       conv2 = conv2, q = sigmoid_forward(conv2))                  # n x 784
}

# Loss parts and gradients of the objective for one part of a batch; all are sums over images,
# so parts of a batch simply add up. d_S is the loss's gradient with respect to what S returns.
# With probe, also what every stage returned and these gradients, by stage (conv_vae_probe.R).
conv_vae_loss_and_gradients <- function(p, x, draws, objective, probe = FALSE) {
  regulariser <- regularisers[[objective]]
  e <- conv_vae_encode(p, x, draws$dropout1, draws$dropout2)
  z <- reparameterise_forward(e$mu, e$log_var, draws$noise)
  d <- conv_vae_decode(p, z)
  losses <- c(reconstruction = bce(d$q, x), regulariser = regulariser$value(e$mu, e$log_var))

  # decoder, backwards
  d_sigmoid <- bce_backward(d$q, x)
  d_conv2 <- sigmoid_backward(d_sigmoid, d$q)
  conv2 <- conv_transpose1x1_backward(d_conv2, d$relu3, p$decoder.conv2.weight)
  d_conv1 <- relu_backward(conv2$x, d$relu3)
  conv1 <- conv_transpose1x1_backward(d_conv1, d$relu2, p$decoder.conv1.weight)
  d_fc2 <- relu_backward(conv1$x, d$relu2)
  fc2 <- linear_backward(d_fc2, d$relu1, p$decoder.fc2.weight)
  d_fc1 <- relu_backward(fc2$x, d$relu1)
  fc1 <- linear_backward(d_fc1, z, p$decoder.fc1.weight)
  decoder <- list(fc1 = fc1, fc2 = fc2, conv1 = conv1, conv2 = conv2)
  d_decoder <- list(q = d_sigmoid, conv2 = d_conv2, relu3 = conv2$x, conv1 = d_conv1,
                    relu2 = conv1$x, fc2 = d_fc2, relu1 = fc2$x, fc1 = d_fc1, z = fc1$x)

  # the sample, and the regulariser
  sample <- reparameterise_backward(fc1$x, e$log_var, draws$noise)
  d_regulariser <- regulariser$gradient(e$mu, e$log_var)
  d_mu <- sample$mu + d_regulariser$mu
  d_log_var <- sample$log_var + d_regulariser$log_var

  # encoder, backwards
  n <- nrow(x)
  patches <- conv_vae_patches(n)
  fc2 <- linear_backward(d_mu, e$dropped2, p$encoder.fc2.weight)
  fc3 <- linear_backward(d_log_var, e$dropped2, p$encoder.fc3.weight)
  d_dropped2 <- fc2$x + fc3$x
  d_relu3 <- dropout(d_dropped2, draws$dropout2, 0.5)
  d_fc1 <- relu_backward(d_relu3, e$relu3)
  fc1 <- linear_backward(d_fc1, e$flat, p$encoder.fc1.weight)
  d_dropped1 <- unflatten(fc1$x, channels = 64L)
  d_pool <- dropout(d_dropped1, as_map(draws$dropout1), 0.25)
  d_relu2 <- max_pool2d_backward(d_pool, e$winner)
  d_conv2 <- relu_backward(d_relu2, e$relu2)
  conv2 <- conv2d_parameter_gradients(d_conv2, e$conv2_columns, p$encoder.conv2.weight)
  d_relu1 <- conv2d_input_gradient(d_conv2, p$encoder.conv2.weight, patches$conv2, ncol(e$relu1))
  d_conv1 <- relu_backward(d_relu1, e$relu1)
  conv1 <- conv2d_parameter_gradients(d_conv1, e$conv1_columns, p$encoder.conv1.weight)
  encoder <- list(conv1 = conv1, conv2 = conv2, fc1 = fc1, fc2 = fc2, fc3 = fc3)

  gradients <- c(layer_gradients(encoder, "encoder"), layer_gradients(decoder, "decoder"))
  result <- list(losses = losses, gradients = gradients[names(p)])
  if (probe) {
    d_input <- conv2d_input_gradient(d_conv1, p$encoder.conv1.weight, patches$conv1,
                                     n * conv_vae_side^2)
    d_encoder <- list(input = d_input, conv1 = d_conv1, relu1 = d_relu1, conv2 = d_conv2,
                      relu2 = d_relu2, pool = d_pool, dropped1 = d_dropped1, flat = fc1$x,
                      fc1 = d_fc1, relu3 = d_relu3, dropped2 = d_dropped2, mu = d_mu,
                      log_var = d_log_var)
    result$forward <- conv_vae_stages(c(list(input = t(x)), e), c(list(z = z), d))
    result$gradient <- conv_vae_stages(d_encoder, d_decoder)
  }
  result
}

layer_gradients <- function(layers, prefix) {
  gradients <- list()
  for (layer in names(layers)) {
    for (kind in c("weight", "bias")) {
      gradients[[paste(prefix, layer, kind, sep = ".")]] <- layers[[layer]][[kind]]
    }
  }
  gradients
}

# channels x (width, height, n) to n x features, features in torch's order: width fastest,
# then height, then channel; and back.
flatten <- function(x, n) {
  dim(x) <- c(nrow(x), ncol(x) %/% n, n)
  matrix(aperm(x, c(3L, 2L, 1L)), nrow = n)
}

as_map <- function(keep) if (!is.null(keep)) unflatten(keep, channels = 64L)

unflatten <- function(x, channels) {
  dim(x) <- c(nrow(x), ncol(x) %/% channels, channels)
  matrix(aperm(x, c(3L, 2L, 1L)), nrow = channels)
}
