# The loss is what backward() is called on. Where several are, before one update, their gradients
# add up, and so do they.

wrap_backward <- function() {
  methods <- torch_internal("Tensor")$methods
  namespace <- asNamespace("torch")
  attached <- if ("package:torch" %in% search()) as.environment("package:torch")
  backward <- get("backward", envir = methods)
  together <- get("autograd_backward", envir = namespace)
  exchange(methods, "backward", function(self, private, ...) {
    see_loss(list(self), list(...)$gradient)
    out <- backward(self, private, ...)
    see_gradients()
    invisible(out)
  })
  exchange_all <- function(f) {
    for (where in c(namespace, attached)) exchange(where, "autograd_backward", f)
  }
  exchange_all(function(tensors, ...) {
    see_loss(if (is.list(tensors)) tensors else list(tensors))
    out <- together(tensors, ...)
    see_gradients()
    invisible(out)
  })
  function() {
    exchange(methods, "backward", backward)
    exchange_all(together)
  }
}

see_loss <- function(tensors, weight = NULL) {
  for (r in active()) {
    r$beside$learnt <- TRUE
    guarded(r, for (x in tensors) {
      known <- !is.null(known_source(r$seen, x)) || length(active()) == 1L
      if (!known) next
      loss <- x$detach()$to(dtype = torch::torch_float64())
      if (is_tensor(weight)) loss <- loss * weight
      r$losses <- c(r$losses, loss$sum()$item())
    })
  }
}

loss_arrays <- function(losses) {
  if (is.null(losses)) return(list())
  each <- if (length(losses) > 1L) {
    stats::setNames(as.list(losses), paste0("loss/backward.", seq_along(losses)))
  }
  c(list("loss/total" = sum(losses)), each)
}

see_gradients <- function() {
  for (r in active()) {
    guarded(r, for (name in r$parameters) {
      gradient <- r$tensors[[name]]$grad
      if (is_tensor(gradient)) r$gradients[[name]] <- gradient$detach()$clone()
    })
  }
}
