# The layers that a stage may name: layers$NAME$forward(s) and layers$NAME$backward(dy, s).
#
#   s          x        list of the inputs' values: (F, N), or maps c(C, W, H, N) (maps.R)
#              draw     the stage's draw in the same layout, or NULL (evaluation mode)
#              options  list of numbers and strings
#              training
#              parts    images of the whole batch for each one that is here
#              weight, bias, running_mean, running_var, num_batches_tracked     of the stage's
#                       module, or NULL
#   forward    list(y = value), with buffers = list(running_mean, running_var, ...) where they change
#   backward   gets dy = dL/dy, and in s also all that forward returned and `wanted`, for each
#              input whether its gradient is; returns list(x = list of dL/d(input), NULL for none,
#              weight = dL/dweight, bias = dL/dbias)
#
# A loss term's value is one number: a sum, divided as options$per says ("sum", "image": the number
# of images, "element": the number of elements of its first input).
#
# leaky_relu(x) = x where x > 0, else slope x: Maas, Hannun & Ng (2013), "Rectifier nonlinearities
# improve neural network acoustic models". softplus(x) = log(1 + exp(x)), and x itself above 20, as
# torch has it (?nnf_softplus). Everything else opens the file that it is from.

# Layers of one input without parameters: forward(x, s) and backward(dy, x, s).
plain <- function(forward, backward) {
  list(forward = function(s) list(y = forward(s$x[[1L]], s)),
       backward = function(dy, s) list(x = list(backward(dy, s$x[[1L]], s))))
}

# value(x, options) and gradient(x, options), of all inputs x.
loss_term <- function(term) {
  list(forward = function(s) list(y = term$value(s$x, s$options) / loss_divisor(s)),
       backward = function(dy, s) {
         scale <- dy / loss_divisor(s)
         list(x = lapply(term$gradient(s$x, s$options), function(d) if (!is.null(d)) scale * d))
       })
}

loss_divisor <- function(s) {
  per <- if (is.null(s$options$per)) "sum" else s$options$per
  switch(per, sum = 1, image = images_of(s$x[[1L]]) * s$parts,
         element = length(s$x[[1L]]) * s$parts,
         stop("per is '", per, "'; expected sum, image or element"))
}

mapped <- function(x) if (is.matrix(x)) as_maps(x) else x            # of one channel

slopes <- function(x, s) c(s$options$slope, 1)[(x > 0) + 1L]      # of leaky_relu

half <- function(second) {
  rows <- function(x) seq_len(nrow(x) %/% 2L) + second * nrow(x) %/% 2L
  plain(function(x, s) x[rows(x), , drop = FALSE],
        function(dy, x, s) {
          dx <- 0 * x
          dx[rows(x), ] <- dy
          dx
        })
}

layers <- c(lapply(c(likelihoods, divergences), loss_term), list(
  input = list(),                                                  # given: see network.R
  conv2d = list(
    forward = function(s) {
      conv2d_forward(mapped(s$x[[1L]]), s$weight, s$bias, s$options$stride, s$options$padding)
    },
    backward = function(dy, s) {
      d <- conv2d_backward(dy, mapped(s$x[[1L]]), s$weight, s$options$stride, s$options$padding,
                           s$wanted, s$columns)
      list(x = list(shaped(d$x, s$x[[1L]])), weight = d$weight, bias = d$bias)
    }
  ),
  conv_transpose2d = list(
    forward = function(s) {
      list(y = conv_transpose2d_forward(s$x[[1L]], s$weight, s$bias, s$options$stride,
                                        s$options$padding))
    },
    backward = function(dy, s) {
      d <- conv_transpose2d_backward(dy, s$x[[1L]], s$weight, s$options$stride,
                                     s$options$padding)
      list(x = list(d$x), weight = d$weight, bias = d$bias)
    }
  ),
  linear = list(                                                   # images in columns: y = W x + b
    forward = function(s) list(y = s$weight %*% s$x[[1L]] + (if (is.null(s$bias)) 0 else s$bias)),
    backward = function(dy, s) {
      list(x = list(crossprod(s$weight, dy)), weight = tcrossprod(dy, s$x[[1L]]),
           bias = rowSums(dy))
    }
  ),
  batch_norm = list(
    forward = function(s) {
      y <- batch_norm_forward(s$x[[1L]], s$weight, s$bias, s$running_mean, s$running_var,
                              s$options$momentum, s$options$eps, s$training)
      if (s$training && !is.null(s$num_batches_tracked)) {         # torch.nn's counts its steps
        y$buffers$num_batches_tracked <- s$num_batches_tracked + 1
      }
      y
    },
    backward = function(dy, s) {
      d <- batch_norm_backward(dy, s$x[[1L]], s$mean, s$var, s$weight, s$options$eps,
                               s$training)
      list(x = list(d$x), weight = d$weight, bias = d$bias)
    }
  ),
  relu = plain(function(x, s) relu_forward(x), function(dy, x, s) relu_backward(dy, s$y)),
  leaky_relu = plain(function(x, s) x * slopes(x, s), function(dy, x, s) dy * slopes(x, s)),
  sigmoid = plain(function(x, s) sigmoid_forward(x), function(dy, x, s) sigmoid_backward(dy, s$y)),
  softplus = plain(function(x, s) ifelse(x > 20, x, log1p(exp(x))),
                   function(dy, x, s) dy * ifelse(x > 20, 1, sigmoid_forward(x))),
  log = plain(function(x, s) log(x), function(dy, x, s) dy / x),
  flatten = plain(function(x, s) as_flat(x), function(dy, x, s) shaped(dy, x)),
  unflatten = plain(function(x, s) as_maps(x, s$options$channels),
                    function(dy, x, s) shaped(dy, x)),
  max_pool2d = list(
    forward = function(s) max_pool2d_forward(s$x[[1L]]),
    backward = function(dy, s) list(x = list(max_pool2d_backward(dy, s$x[[1L]], s$winner)))
  ),
  dropout = list(
    forward = function(s) {
      keep <- shaped(s$draw, s$x[[1L]])
      list(y = dropout(s$x[[1L]], keep, s$options$p), keep = keep)
    },
    backward = function(dy, s) list(x = list(dropout(dy, s$keep, s$options$p)))
  ),
  first_half = half(FALSE),
  second_half = half(TRUE),
  softmax = plain(function(x, s) softmax_forward(x), function(dy, x, s) softmax_backward(dy, s$y)),
  gumbel_softmax = plain(
    function(x, s) gumbel_softmax_forward(x, s$draw, s$options$temperature),
    function(dy, x, s) gumbel_softmax_backward(dy, s$y, x, s$draw, s$options$temperature)
  ),
  multiply = list(
    forward = function(s) list(y = s$x[[1L]] * shaped(s$x[[2L]], s$x[[1L]])),
    backward = function(dy, s) {
      list(x = list(dy * shaped(s$x[[2L]], dy), shaped(dy * s$x[[1L]], s$x[[2L]])))
    }
  ),
  concat = list(                                                   # features, or channels of maps
    forward = function(s) {
      y <- do.call(rbind, lapply(s$x, by_pixel))
      dim(y) <- c(nrow(y), dim(s$x[[1L]])[-1L])
      list(y = y)
    },
    backward = function(dy, s) {
      ends <- cumsum(vapply(s$x, nrow, 0L))
      list(x = Map(function(x, end) {
        part <- by_pixel(dy)[seq.int(end - nrow(x) + 1L, end), , drop = FALSE]
        dim(part) <- dim(x)
        part
      }, s$x, ends))
    }
  ),
  reparameterise = list(
    forward = function(s) list(y = reparameterise_forward(s$x[[1L]], s$x[[2L]], s$draw)),
    backward = function(dy, s) {
      list(x = unname(reparameterise_backward(dy, s$x[[2L]], s$draw)))
    }
  ),
  sum = list(                                                      # of loss terms, weighted
    forward = function(s) list(y = sum(s$options$weights * unlist(s$x))),
    backward = function(dy, s) list(x = as.list(dy * s$options$weights))
  )
))
