# Gradients of what layers returned. A tensor keeps its own (retain_grad()), read when the step ends.
# One that is changed in place keeps the gradient of what it is then: so a hook, set before the
# change, catches that of what it was.

# `tensor` is what is to be changed, the first argument of the function.
hook_before_change <- function(seen, tensor) {
  source <- if (is_tensor(tensor)) known_source(seen, tensor)
  if (is.null(source) || is.null(seen$returned[[source]])) return(invisible())
  catch_gradient(seen, source, tensor)
}

catch_gradient <- function(seen, source, tensor) {
  catch <- function(gradient) {
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
