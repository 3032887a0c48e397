# Memory that no function has filled yet, as torch_empty() returns it: two runs of one program find
# other numbers there. A trace has zeros in their place.

# Known by address: the tensor, its version, and which of its elements were set since (NULL: none).
see_empty <- function(out) {
  for (x in tensors_in(out)) note_empty(x, NULL)
  out
}

note_empty <- function(tensor, filled) {
  noted <- list(tensor = rlang::new_weakref(tensor), version = session$version(tensor),
                filled = filled)
  assign(address_of(tensor), noted, envir = session$empty)
}

# What is known of a tensor that was changed so many times since; else NULL.
noted_empty <- function(tensor, changes = 0) {
  noted <- session$empty[[address_of(tensor)]]
  if (is.null(noted) || is.null(rlang::wref_key(noted$tensor))) return(NULL)
  if (noted$version + changes == session$version(tensor)) noted
}

is_empty <- function(tensor) {
  noted <- noted_empty(tensor)
  !is.null(noted) && is.null(noted$filled)
}

# Elements were set: `put` sets the same ones of a mask.
see_filled <- function(tensor, put) {
  noted <- noted_empty(tensor, 1)
  if (is.null(noted)) return(invisible())
  torch::with_no_grad({
    filled <- noted$filled %||% torch::torch_zeros_like(tensor, dtype = torch::torch_bool(),
                                                        requires_grad = FALSE)
    put(filled)
  })
  note_empty(tensor, filled)
}

# A copy of a tensor, with zeros where nothing was set.
without_chance <- function(tensor, copy) {
  filled <- noted_empty(tensor)$filled
  if (is.null(filled)) copy else torch::with_no_grad(copy$masked_fill_(filled$logical_not(), 0))
}
