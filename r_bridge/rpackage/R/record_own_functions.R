# Functions that a program makes with autograd_function(): what their forward() calls is no stage of
# the network, as nothing of it is differentiated. What they return comes from outside, and says
# which function it was that returned it, as PyTorch's does.

wrap_own_functions <- function() {
  namespace <- asNamespace("torch")
  apply_function <- get("cpp_Function_apply", envir = namespace)
  exchange(namespace, "cpp_Function_apply", function(...) {
    if (!session$open || !listening()) return(apply_function(...))
    called <- name_of_function(sys.call(-1L))
    session$open <- FALSE
    on.exit(reopen())
    out <- apply_function(...)
    for (r in active()) guarded(r, for (x in tensors_in(out)) add_own(r$seen, x, called))
    out
  })
  function() exchange(namespace, "cpp_Function_apply", apply_function)
}

# By which name the program has it; as PyTorch names the node of its graph.
name_of_function <- function(call) {
  name <- if (is.call(call)) call[[1L]]
  if (is.call(name)) name <- name[[length(name)]]          # self$reverse
  paste0(if (is.symbol(name)) as.character(name), "Backward")
}

add_own <- function(seen, tensor, called) {
  if (!is.null(known_source(seen, tensor))) return(invisible())
  call <- list(name = "input", layer = "input", inside = FALSE, options = list(grad_fn = called))
  add_value(seen, add_call(seen, call), "", tensor)
}
