# What chance decides. A dropout layer's mask is not to be seen: it is drawn once more, with the
# generator in the state that it had before, and kept if it explains what the layer returned.

dropouts <- c("dropout", "feature_dropout", "dropout2d", "dropout3d", "dropout1d", "native_dropout")

# What is needed to draw a mask again; NULL if the layer draws none.
draw_before <- function(layer, p, training, arguments) {
  if (!layer %in% dropouts) return(NULL)
  if (!is.numeric(p) || !isTRUE(training) || p <= 0 || p >= 1) return(NULL)
  input <- arguments[[1L]]
  if (!is_tensor(input) || !input$is_floating_point()) return(NULL)
  feature <- layer %in% c("feature_dropout", "dropout2d", "dropout3d")
  list(input = input$detach()$clone(), p = p, feature = feature,
       state = torch::torch_get_rng_state())
}

# The mask, 1 to keep and 0 to drop; NULL if there is none, or it is not what the layer has drawn.
mask_of <- function(drawn, out) {
  if (is.null(drawn) || !is_tensor(out)) return(NULL)
  if (!is.null(drawn$mask)) return(drawn$mask)
  now <- torch::torch_get_rng_state()
  on.exit(torch::torch_set_rng_state(now))
  torch::torch_set_rng_state(drawn$state)
  ones <- torch::torch_ones_like(drawn$input)
  dropout <- torch_internal(if (drawn$feature) "torch_feature_dropout" else "torch_dropout")
  again <- dropout(ones, drawn$p, TRUE)
  if (same_values(drawn$input * again, out)) again$ne(0)$to(dtype = torch::torch_uint8())
}

same_values <- function(a, b) isTRUE(as.logical(torch::torch_equal(a, b)))
