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
  flat <- flatten(pool$y, n)                                       # n x 9216
  dropped1 <- dropout(flat, dropout1, 0.25)                        # same elements before or after flatten
  fc1 <- linear_forward(dropped1, p$encoder.fc1.weight, p$encoder.fc1.bias)
  relu3 <- relu_forward(fc1)                                       # n x 128
  dropped2 <- dropout(relu3, dropout2, 0.5)
  list(mu = linear_forward(dropped2, p$encoder.fc2.weight, p$encoder.fc2.bias),
       log_var = linear_forward(dropped2, p$encoder.fc3.weight, p$encoder.fc3.bias),
       conv1_columns = conv1$columns, relu1 = relu1, conv2_columns = conv2$columns,
       relu2 = relu2, winner = pool$winner, dropped1 = dropped1, relu3 = relu3,
       dropped2 = dropped2)
}

conv_vae_decode <- function(p, z) {
  relu1 <- relu_forward(linear_forward(z, p$decoder.fc1.weight, p$decoder.fc1.bias))
  relu2 <- relu_forward(linear_forward(relu1, p$decoder.fc2.weight, p$decoder.fc2.bias))
  relu3 <- relu_forward(
    conv_transpose1x1_forward(relu2, p$decoder.conv1.weight, p$decoder.conv1.bias))
  logits <- conv_transpose1x1_forward(relu3, p$decoder.conv2.weight, p$decoder.conv2.bias)
  list(q = sigmoid_forward(logits), relu1 = relu1, relu2 = relu2, relu3 = relu3)
}

# Loss parts and gradients of the objective for one part of a batch; all are sums over images,
# so parts of a batch simply add up.
conv_vae_loss_and_gradients <- function(p, x, draws, objective) {
  regulariser <- regularisers[[objective]]
  e <- conv_vae_encode(p, x, draws$dropout1, draws$dropout2)
  sigma <- exp(0.5 * e$log_var)
  z <- if (is.null(draws$noise)) e$mu else e$mu + sigma * draws$noise
  d <- conv_vae_decode(p, z)
  losses <- c(reconstruction = bce(d$q, x), regulariser = regulariser$value(e$mu, e$log_var))

  # decoder, backwards
  dlogits <- sigmoid_backward(bce_backward(d$q, x), d$q)
  conv2 <- conv_transpose1x1_backward(dlogits, d$relu3, p$decoder.conv2.weight)
  conv1 <- conv_transpose1x1_backward(relu_backward(conv2$x, d$relu3), d$relu2,
                                      p$decoder.conv1.weight)
  fc2 <- linear_backward(relu_backward(conv1$x, d$relu2), d$relu1, p$decoder.fc2.weight)
  fc1 <- linear_backward(relu_backward(fc2$x, d$relu1), z, p$decoder.fc1.weight)
  decoder <- list(fc1 = fc1, fc2 = fc2, conv1 = conv1, conv2 = conv2)

  # z = mu + sigma noise, and the regulariser
  dz <- fc1$x
  dregulariser <- regulariser$gradient(e$mu, e$log_var)
  dmu <- dz + dregulariser$mu
  dlog_var <- dregulariser$log_var
  if (!is.null(draws$noise)) dlog_var <- dlog_var + dz * draws$noise * 0.5 * sigma

  # encoder, backwards
  n <- nrow(x)
  patches <- conv_vae_patches(n)
  fc2 <- linear_backward(dmu, e$dropped2, p$encoder.fc2.weight)
  fc3 <- linear_backward(dlog_var, e$dropped2, p$encoder.fc3.weight)
  dfc1 <- relu_backward(dropout(fc2$x + fc3$x, draws$dropout2, 0.5), e$relu3)
  fc1 <- linear_backward(dfc1, e$dropped1, p$encoder.fc1.weight)
  dpool <- unflatten(dropout(fc1$x, draws$dropout1, 0.25), channels = 64L)
  dconv2 <- relu_backward(max_pool2d_backward(dpool, e$winner), e$relu2)
  conv2 <- conv2d_parameter_gradients(dconv2, e$conv2_columns, p$encoder.conv2.weight)
  drelu1 <- conv2d_input_gradient(dconv2, p$encoder.conv2.weight, patches$conv2, ncol(e$relu1))
  conv1 <- conv2d_parameter_gradients(relu_backward(drelu1, e$relu1), e$conv1_columns,
                                      p$encoder.conv1.weight)
  encoder <- list(conv1 = conv1, conv2 = conv2, fc1 = fc1, fc2 = fc2, fc3 = fc3)

  gradients <- c(layer_gradients(encoder, "encoder"), layer_gradients(decoder, "decoder"))
  list(losses = losses, gradients = gradients[names(p)])
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

unflatten <- function(x, channels) {
  dim(x) <- c(nrow(x), ncol(x) %/% channels, channels)
  matrix(aperm(x, c(3L, 2L, 1L)), nrow = channels)
}
