# All that chance brings to a run of R torch alone, from its global generator: initial parameters,
# dropout masks and noise. PyTorch draws the same bits after torch.manual_seed(seed), in the same
# order (pyvae/engines/generators.py).

# R torch's own modules, whose initialisers draw the parameters of a layer; of the shapes of its
# weight and its bias (NULL: none).
torch_modules <- list(
  linear = function(weight, bias) nn_linear(weight[[2L]], weight[[1L]], bias = !is.null(bias)),
  conv2d = function(weight, bias) {
    nn_conv2d(weight[[2L]], weight[[1L]], weight[-(1:2)], bias = !is.null(bias))
  },
  conv_transpose2d = function(weight, bias) {
    nn_conv_transpose2d(weight[[1L]], weight[[2L]], weight[-(1:2)], bias = !is.null(bias))
  },
  batch_norm = function(weight, bias) nn_batch_norm1d(weight)
)

# Parameters and buffers by name, as state_dict has them. `layers` are the shapes of every module's,
# list(weight = , bias = , ...), in the order in which torch creates the modules.
torch_initial <- function(stages, layers) {
  kinds <- stats::setNames(lapply(stages, `[[`, "layer"), lapply(stages, `[[`, "module"))
  values <- list()
  for (layer in names(layers)) {
    shapes <- lapply(layers[[layer]], unlist)
    module <- torch_modules[[kinds[[layer]]]](shapes$weight, shapes$bias)
    for (kind in names(shapes)) values[[paste(layer, kind, sep = ".")]] <- module[[kind]]$detach()
  }
  values
}

# The draws of one step for n images, one row per image or per one of draw$rows. `draws` are, by
# name and in order, list(kind = "keep", columns, p), list(kind = "normal", columns) or
# list(kind = "gumbel", columns).
torch_draws <- function(n, draws, dtype) {
  lapply(draws, function(draw) {
    size <- c(if (is.null(draw$rows)) n else draw$rows, draw$columns)
    switch(draw$kind,
           keep = torch_empty(size, dtype = dtype)$bernoulli_(1 - draw$p),
           normal = torch_randn(size, dtype = dtype),
           gumbel = torch_gumbel(torch_rand(size, dtype = dtype)))
  })
}

# Gumbel noise of uniform numbers: Jang, Gu & Poole (2017), section 2.1.
torch_gumbel <- function(u) torch_neg(torch_log(torch_neg(torch_log(u$add(torch_class_epsilon)))))
