# Masks that a layer draws within itself: dropout between the layers of an LSTM, of the weights of
# attention. They are drawn once more, and kept if they explain what the layer returned. All masks
# of a layer are one array: (layers - 1, time, batch, features), or (batch, heads, queries, keys).

recurrent_layers <- c("lstm", "gru", "rnn")

# What is needed to draw a layer's masks again; NULL if it draws none within itself.
within_module <- function(layer, instance, arguments) {
  if (!layer %in% c(recurrent_layers, "multihead_attention")) return(NULL)
  p <- instance$dropout
  if (!isTRUE(instance$training) || !drops(p)) return(NULL)
  if (layer == "multihead_attention") return(new_within(p, heads = instance$num_heads))
  if (instance$num_layers < 2L) return(NULL)
  seen <- is_tensor(arguments[[1L]]) && arguments[[1L]]$dim() == 3L     # not packed
  compute <- if (seen) function(mask) recurrent_with(instance, arguments, mask)
  shape <- if (seen) recurrent_shape(instance, arguments[[1L]])
  new_within(p, several = TRUE, shape = shape, compute = compute)
}

within_function <- function(layer, arguments) {
  p <- arguments[["dropout_p"]]
  if (layer != "scaled_dot_product_attention" || !drops(p)) return(NULL)
  weights <- tryCatch(attention_weights(arguments), error = function(e) NULL)
  if (is.null(weights)) return(new_within(p))
  new_within(p, shape = weights$shape, compute = function(mask) {
    weights$mul(kept(mask, p, weights))$matmul(arguments[["value"]])
  })
}

drops <- function(p) is.numeric(p) && length(p) == 1L && p > 0 && p < 1

# `compute`: what the layer returns with given masks. `given`: those of another program.
new_within <- function(p, ...) {
  list2env(list(p = p, state = torch::torch_get_rng_state(), ...), parent = emptyenv())
}

# The masks as they were drawn; NULL if they cannot be told.
mask_within <- function(within, out) {
  if (is.null(within)) return(NULL)
  if (!is.null(within$given) || !is.null(within$mask)) return(within$given %||% within$mask)
  if (is.null(within$compute)) return(NULL)
  now <- torch::torch_get_rng_state()
  on.exit(torch::torch_set_rng_state(now))
  torch::torch_set_rng_state(within$state)
  like <- tensors_in(out)[[1L]]
  ones <- torch::torch_ones(within$shape, dtype = like$dtype, device = like$device)
  draw <- function(ones) torch_internal("torch_dropout")(ones, within$p, TRUE)
  noise <- if (isTRUE(within$several)) {
    torch::torch_stack(lapply(seq_len(within$shape[[1L]]), function(i) draw(ones[i, ..])))
  } else {
    draw(ones)
  }
  mask <- noise$ne(0)$to(dtype = torch::torch_uint8())
  # with gradients, as it was computed, or without: an LSTM may round otherwise
  for (as_then in list(torch::with_enable_grad, torch::with_no_grad)) {
    again <- tryCatch(tensors_in(as_then(within$compute(mask)))[[1L]], error = function(e) NULL)
    if (!is.null(again) && same_values(again, like)) return(mask)
  }
  NULL
}

# Has a layer use the masks of another program; for what draws them in R, see see_within().
replay_within <- function(r, name, within, out) {
  if (is.null(within$given)) within$given <- take_mask(r, name)
  if (!is.null(within$own)) check_drawn_shape(r, name, within$given, within$own)
  if (is.null(within$compute)) {
    if (is.null(within$mask)) unreached(r, name)
    return(out)
  }
  check_drawn_shape(r, name, within$given, list(shape = within$shape))
  within$compute(within$given)
}

unreached <- function(r, name) {
  abort(c("{.arg replay} cannot reach the masks that {.val {name}} draws within itself.",
          "i" = "Set its dropout to 0 in both programs, or leave out {.arg replay}."))
}

# torch_dropout(), called within attention that is written in R.
see_within <- function(dropout, input, p, train) {
  within <- session$within
  drawn <- draw_before("dropout", p, train, list(input))
  if (is.null(within$heads) || is.null(drawn)) return(dropout(input, p, train))
  session$within <- NULL
  on.exit(session$within <- within)
  shape <- c(input$shape[[1L]] %/% within$heads, within$heads, utils::tail(input$shape, 2L))
  within$own <- list(shape = shape)
  out <- dropout(input, p, train)
  if (is.null(within$given)) {
    tryCatch(torch::with_no_grad(within$mask <- mask_of(drawn, out)$view(shape)),
             error = function(e) NULL)
    return(out)
  }
  if (within$given$numel() != input$numel()) return(out)          # replay_within() says so
  within$mask <- within$given
  input$mul(kept(within$given$view(input$shape), p, input))
}

kept <- function(mask, p, like) {
  torch::with_no_grad(mask$to(dtype = like$dtype, device = like$device)$div(1 - p))
}

recurrent_shape <- function(instance, input) {
  size <- if (isTRUE(instance$batch_first)) input$shape[2:1] else input$shape[1:2]
  c(instance$num_layers - 1L, size, instance$hidden_size * (1L + isTRUE(instance$bidirectional)))
}

# A recurrent layer as its layers one by one, with given masks between them: LibTorch does the same.
recurrent_with <- function(instance, arguments, mask) {
  run <- torch_internal("rnn_impls_")[[instance$mode]]
  directions <- 1L + isTRUE(instance$bidirectional)
  x <- arguments[[1L]]
  if (isTRUE(instance$batch_first)) x <- x$transpose(1L, 2L)
  states <- if (length(arguments) > 1L) arguments[[2L]]
  if (inherits(states, "torch_tensor")) states <- list(states)
  if (is.null(states)) {
    zeros <- torch::torch_zeros(instance$num_layers * directions, x$shape[[2L]],
                                instance$hidden_size, dtype = x$dtype, device = x$device)
    states <- if (instance$mode == "LSTM") list(zeros, zeros) else list(zeros)
  }
  each <- directions * if (isTRUE(instance$bias)) 4L else 2L
  last <- list()
  for (layer in seq_len(instance$num_layers)) {
    own <- lapply(states, function(one) one$narrow(1L, (layer - 1L) * directions + 1L, directions))
    result <- run(
      input = x, hx = if (instance$mode == "LSTM") own else own[[1L]],
      params = instance$flat_weights_[(layer - 1L) * each + seq_len(each)],
      has_biases = instance$bias, num_layers = 1L, dropout = 0, train = TRUE,
      bidirectional = instance$bidirectional, batch_first = FALSE)
    x <- result[[1L]]
    if (layer < instance$num_layers) x <- x$mul(kept(mask[layer, ..], instance$dropout, x))
    last[[layer]] <- result[-1L]
  }
  if (isTRUE(instance$batch_first)) x <- x$transpose(1L, 2L)
  hidden <- lapply(seq_along(states), function(i) torch::torch_cat(lapply(last, `[[`, i)))
  list(x, if (instance$mode == "LSTM") hidden else hidden[[1L]])
}

# Of attention before anything is dropped, in LibTorch's own order of operations.
attention_weights <- function(arguments) {
  attend <- torch_internal("torch__scaled_dot_product_attention_math")
  attend(arguments[["query"]], arguments[["key"]], arguments[["value"]],
         attn_mask = arguments[["attn_mask"]] %||% list(),
         is_causal = isTRUE(arguments[["is_causal"]]), scale = arguments[["scale"]],
         enable_gqa = isTRUE(arguments[["enable_gqa"]]))[[2L]]
}
