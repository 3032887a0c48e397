# Gradients of what layers returned. A tensor keeps its own (retain_grad()), read when the step ends.
# One that is changed in place keeps the gradient of what it is then: so a hook, set before the
# change, catches that of what it was.

# `tensor` is what is to be changed, the first argument of the function.
hook_before_change <- function(seen, tensor) {
  source <- if (is_tensor(tensor)) known_source(seen, tensor)
  if (is.null(source) || is.null(seen$returned[[source]])) return(invisible())
  catch <- function(gradient) {
    if (isTRUE(session$within_grad)) return(NULL)
    open <- session$open
    session$open <- FALSE
    on.exit(session$open <- open)
    before <- seen$caught[[source]]
    caught <- copied(gradient)
    seen$caught[[source]] <- if (is.null(before)) caught else before$add(caught)
    NULL                                             # the gradient stays as it is
  }
  tensor$register_hook(catch)
}

gradient_of <- function(seen, source) {
  seen$caught[[source]] %||% seen$returned[[source]]$grad
}

# autograd_grad() is a stage: a program may train on what it returns, as on a gradient penalty. The
# gradients that tensors keep of it are none of the loss, and are taken away again.
wrap_grad <- function() {
  namespace <- asNamespace("torch")
  grad <- get("cpp_autograd_grad", envir = namespace)
  exchange(namespace, "cpp_autograd_grad", function(outputs, inputs, grad_outputs, retain_graph,
                                                    create_graph, allow_unused) {
    recordings <- active()
    kept <- lapply(recordings, function(r) lapply(r$seen$returned, gradient_kept))
    open <- session$open
    session$open <- FALSE
    session$within_grad <- TRUE
    on.exit({
      session$within_grad <- FALSE
      session$open <- open && length(active()) > 0L
    })
    out <- grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused)
    for (i in seq_along(recordings)) {
      r <- recordings[[i]]
      guarded(r, Map(put_gradient, r$seen$returned, kept[[i]]))
    }
    if (open) {
      about <- list(layer = "grad", changes = FALSE, options = list(
        create_graph = create_graph, allow_unused = allow_unused))
      arguments <- list(outputs = outputs, inputs = inputs, grad_outputs = grad_outputs)
      for (r in active()) guarded(r, see_stage(r, about, arguments, as.list(out)))
    }
    out
  })
  function() exchange(namespace, "cpp_autograd_grad", grad)
}

gradient_kept <- function(tensor) {
  gradient <- tensor$grad
  if (is_tensor(gradient)) copied(gradient)
}

put_gradient <- function(tensor, gradient) tensor$grad <- gradient
