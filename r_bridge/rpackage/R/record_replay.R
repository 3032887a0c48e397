# The same chance as another program: `replay` of record(). The program draws as ever, so its
# generator goes on as it would; what it drew is replaced by what the other one drew. The second
# call of a layer gets what the other program's second call drew.

replaying <- function() Filter(function(r) !is.null(r$replay), active())

# Reads what the other program drew in this step.
begin_replay <- function(r) {
  if (is.null(r$replay) || !r$active) return(invisible())
  at <- match(r$step, r$replay$steps)
  if (is.na(at)) {
    abort(c("Step {r$step} is not in the trace {.file {r$replay$folder}}.",
            "i" = "Record the two programs with the same {.arg steps} and {.arg every}."))
  }
  network <- r$replay$about$networks[[r$replay$about$steps[[at]]$network + 1L]]
  draws <- Filter(function(stage) identical(stage$layer, "draw"), network)
  names <- vapply(draws, function(stage) stage$name, "")
  arrays <- read_tensors(step_path(r$replay$folder, r$step), function(keys) {
    startsWith(keys, "draw/") | keys %in% paste0("forward/", names)
  }, NULL)
  order <- vapply(network, function(stage) stage$name, "")
  arrays <- arrays[order(match(sub("^[a-z]+/", "", names(arrays)), order))]
  r$replay$waiting <- split(arrays, sub("#[0-9]+$", "", names(arrays)))
}

# What the other program drew in its next call of this name.
next_replayed <- function(r, key, like) {
  waiting <- r$replay$waiting[[key]]
  what <- sub("^[a-z]+/", "", key)
  if (!length(waiting)) {
    abort(c("The trace {.file {r$replay$folder}} has no more {.val {what}} for step {r$step}.",
            "i" = "The two programs do not draw the same numbers: see which of them draws more."))
  }
  r$replay$waiting[[key]] <- waiting[-1L]
  given <- waiting[[1L]]
  if (!identical(as.integer(given$shape), as.integer(like$shape))) {
    sizes <- vapply(list(like, given), function(x) paste(x$shape, collapse = " x "), "")
    abort(c("{.val {what}} draws {sizes[[1L]]} numbers in step {r$step}.",
            "x" = "The trace {.file {r$replay$folder}} has {sizes[[2L]]}."))
  }
  given
}

replay_mask <- function(r, name, drawn) next_replayed(r, paste0("draw/", name), drawn$input)

# What dropout returns with a given mask: the operations and their order are LibTorch's.
masked <- function(input, drawn) {
  noise <- torch::with_no_grad(drawn$mask$to(dtype = input$dtype)$div(1 - drawn$p))
  input$mul(noise)
}

# Draws that the other program's network lacks, such as the order of the images, stay as they are.
# R torch's multinomial() counts from 1.
replay_draw <- function(r, name, distribution, out) {
  key <- paste0("forward/", name)
  if (!key %in% names(r$replay$waiting)) return(invisible())
  given <- next_replayed(r, key, out)
  shift <- 1 - (r$replay$about$index_base %||% 0)
  torch::with_no_grad({
    out$copy_(given$to(dtype = out$dtype))
    if (distribution == "multinomial" && shift != 0) out$add_(shift)
  })
}
