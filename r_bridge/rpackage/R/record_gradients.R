# Gradients of what layers returned. A tensor keeps its own (retain_grad()), read when the step ends.
# One that is changed in place keeps the gradient of what it is then: so a hook, set before the
# change, catches that of what it was.

# A function is about to change its first argument: notes where that comes from, which nobody can
# tell afterwards, and what it was, if it comes from outside.
before_change <- function(r, arguments, about = list()) {
  seen <- r$seen
  tensor <- arguments[[1L]]
  if (!is_tensor(tensor)) return(invisible())
  inputs <- do.call(c, unname(lapply(arguments, tensors_in)))
  inside <- length(r$path) || any(vapply(inputs, function(x) of_the_model(seen, x), NA))
  source <- known_source(seen, tensor)
  if (is.null(source) && inside && is.null(about$draw)) {
    source <- source_of(seen, tensor, written = TRUE)
  }
  seen$changing <- list(address = address_of(tensor), source = source,
                        put = put_into_part(seen, about$layer, arguments))
  # what it is a part of changes as well
  while (!is.null(source)) {
    hook_before_change(seen, source, tensor)
    source <- whole_of(seen, source)
    if (!is.null(source)) tensor <- seen$values[[as.integer(source)]]$tensor
  }
}

# The source of what a function was given, if what it returned shares its memory.
whole_of <- function(seen, source) {
  if (startsWith(source, "=")) return(NULL)
  part <- seen$values[[as.integer(source)]]
  whole <- seen$calls[[part$call]]$inputs[1L]
  if (!length(whole) || is.na(whole) || startsWith(whole, "=")) return(NULL)
  own <- seen$values[[as.integer(whole)]]$tensor
  same <- identical(address_of(own), address_of(part$tensor))      # changed in place itself
  if (!same && own$storage()$data_ptr() == part$tensor$storage()$data_ptr()) unname(whole)
}

forget_change <- function() for (r in active()) r$seen$changing <- NULL

hook_before_change <- function(seen, source, tensor) {
  if (is.null(source) || is.null(seen$returned[[source]])) return(invisible())
  catch_gradient(seen, source, tensor)
}

catch_gradient <- function(seen, source, tensor) {
  catch <- function(gradient) {
    if (session$deriving) return(NULL)
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

# autograd_grad(): its derivatives are a stage, and the gradients that it leaves in what was kept
# are none of the loss.
wrap_autograd_grad <- function() {
  namespace <- asNamespace("torch")
  places <- c(namespace, if ("package:torch" %in% search()) as.environment("package:torch"))
  old <- get("autograd_grad", envir = namespace)
  put <- function(f) for (where in places) exchange(where, "autograd_grad", f)
  put(function(outputs, inputs, grad_outputs = NULL, retain_graph = create_graph,
               create_graph = FALSE, allow_unused = FALSE) {
    derive <- function(outputs, inputs, grad_outputs = NULL) {
      without_gradients_left(
        old(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused))
    }
    about <- list(layer = "grad", changes = FALSE, arguments = c("outputs", "inputs", "grad_outputs"),
                  options = list(create_graph = create_graph))
    if (!session$open) return(derive(outputs, inputs, grad_outputs))
    see_function(derive, about, outputs, inputs, grad_outputs)
  })
  function() put(old)
}

without_gradients_left <- function(code) {
  kept <- lapply(active(), function(r) lapply(r$seen$returned, function(x) list(x, x$grad)))
  session$deriving <- TRUE
  on.exit({
    session$deriving <- FALSE
    for (one in do.call(c, kept)) put_gradient_back(one[[1L]], one[[2L]])
  })
  code
}

put_gradient_back <- function(tensor, gradient) {
  same <- is_tensor(gradient) == is_tensor(tensor$grad)
  if (same && (!is_tensor(gradient) || same_values(gradient, tensor$grad))) return(invisible())
  nothing <- torch_internal("cpp_tensor_undefined")
  torch_internal("cpp_tensor_set_grad_")(tensor, if (is_tensor(gradient)) gradient else nothing())
}
