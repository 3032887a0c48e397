# The same chance as another program: `replay` of record(). The program draws as ever, so its
# generator goes on as it would; what it drew is replaced by what the other one drew. The second
# call of a layer gets what the other program's second call drew.

replaying <- function() Filter(function(r) !is.null(r$replay), active())

# Reads what the other program drew in this step.
begin_replay <- function(r) {
  if (is.null(r$replay) || !r$active) return(invisible())
  at <- match(r$step, r$replay$steps)
  # both programs may end with the step before: it is told when something is drawn
  r$replay$lacks <- is.na(at)
  r$replay$masks <- r$replay$draws <- list()
  if (r$replay$lacks) return(invisible())
  network <- r$replay$about$networks[[r$replay$about$steps[[at]]$network + 1L]]
  names <- vapply(network, function(stage) stage$name, "")
  arrays <- read_tensors(step_path(r$replay$folder, r$step), function(keys) {
    startsWith(keys, "draw/") | startsWith(keys, "forward/")
  }, NULL)
  masks <- paste0("draw/", names)
  masks <- masks[masks %in% names(arrays)]
  r$replay$masks <- split(unname(arrays[masks]), plain_name(substring(masks, 6L)))
  waiting <- r$replay$ahead
  r$replay$ahead <- NULL
  r$replay$draws <- waiting %||% draws_of(network, arrays)
}

draws_of <- function(network, arrays) {
  draws <- Filter(function(stage) identical(stage$layer, "draw"), network)
  lapply(draws, function(stage) {
    list(name = plain_name(stage$name), distribution = stage$options$distribution,
         values = arrays[[paste0("forward/", stage$name)]])
  })
}

# A forward pass begins with the call of the network, and its noise may be drawn before that: where
# the other program has no more draws in this step, those of its next one. They wait there without
# those that are taken.
look_ahead <- function(r) {
  at <- match(r$step + 1L, r$replay$steps)
  if (!r$passes || is.na(at) || !is.null(r$replay$ahead)) return(r$replay$ahead)
  network <- r$replay$about$networks[[r$replay$about$steps[[at]]$network + 1L]]
  path <- step_path(r$replay$folder, r$step + 1L)
  r$replay$ahead <-
    draws_of(network, read_tensors(path, function(keys) startsWith(keys, "forward/"), NULL))
}

check_replayed_step <- function(r) {
  if (!isTRUE(r$replay$lacks)) return(invisible())
  abort(c("Step {r$step} is not in the trace {.file {r$replay$folder}}.",
          "i" = "Record the two programs with the same {.arg steps} and {.arg every}."))
}

# Without the number of the call.
plain_name <- function(name) sub("#[0-9]+$", "", name)

replay_mask <- function(r, name, drawn) {
  check_drawn_shape(r, name, take_mask(r, name), drawn$input)
}

# The next mask that the other program has of a layer.
take_mask <- function(r, name) {
  check_replayed_step(r)
  there <- name_there(name, r$names, names(Filter(length, r$replay$masks)))
  waiting <- r$replay$masks[[there]]
  if (!length(waiting)) {
    abort(c("The trace {.file {r$replay$folder}} has no mask of {.val {name}} in step {r$step}.",
            "i" = paste("Record both programs with the same dropout layers, say with {.arg names}",
                        "what it is called there, or leave out {.arg replay}.")))
  }
  r$replay$masks[[there]] <- waiting[-1L]
  waiting[[1L]]
}

check_drawn_shape <- function(r, name, given, own) {
  if (same_shape(given, own)) return(given)
  sizes <- vapply(list(own, given), function(x) paste(x$shape, collapse = " x "), "")
  abort(c("{.val {name}} draws {sizes[[1L]]} numbers in step {r$step}.",
          "x" = "The trace {.file {r$replay$folder}} has {sizes[[2L]]}."))
}

same_shape <- function(a, b) identical(as.integer(a$shape), as.integer(b$shape))

# What a dropout is given: a copy, if it works in place and another mask is to be used.
before_drop <- function(input, drawn, in_place) {
  if (in_place && !is.null(drawn) && length(replaying())) input$clone() else input
}

# What it returns with the other mask: in place, it is the tensor that it was given.
dropped <- function(out, before, drawn, in_place) {
  with_mask <- masked(before, drawn)
  if (in_place) out$copy_(with_mask) else with_mask
}

# What dropout returns with a given mask: the operations and their order are LibTorch's.
masked <- function(input, drawn) {
  noise <- torch::with_no_grad(drawn$mask$to(dtype = input$dtype)$div(1 - drawn$p))
  input$mul(noise)
}

# Which draws are of a distribution, and of the shape of `out` if that is given: first those of a name.
alike_draws <- function(r, draws, name, distribution, out) {
  alike <- Filter(function(at) {
    draw <- draws[[at]]
    draw$distribution == distribution && (is.null(out) || same_shape(draw$values, out))
  }, seq_along(draws))
  names <- vapply(draws, function(draw) draw$name, "")
  there <- name_there(name, r$names, names[alike])
  named <- Filter(function(at) names[[at]] == there, alike)
  c(named, alike)
}

# Overwrites what a function has drawn. Draws outside of the model that the other program lacks,
# such as the order of the images, stay as they are. R torch's multinomial() counts from 1.
replay_draw <- function(r, name, distribution, out) {
  within <- length(r$path) > 0L
  if (within) check_replayed_step(r)
  from <- "draws"
  at <- alike_draws(r, r$replay$draws, name, distribution, if (!within) out)
  if (!length(at) && length(look_ahead(r))) {
    from <- "ahead"
    at <- alike_draws(r, r$replay$ahead, name, distribution, if (!within) out)
  }
  if (!length(at) && !within) return(invisible())
  if (!length(at)) {
    abort(c("The trace {.file {r$replay$folder}} has no more draws of {.val {distribution}}.",
            "x" = "The program draws {.val {name}} in step {r$step}.",
            "i" = "Let both programs draw in the same order, or leave out {.arg replay}."))
  }
  given <- check_drawn_shape(r, name, r$replay[[from]][[at[[1L]]]]$values, out)
  r$replay[[from]] <- r$replay[[from]][-at[[1L]]]
  shift <- 1 - (r$replay$about$index_base %||% 0)
  torch::with_no_grad({
    out$copy_(given$to(dtype = out$dtype))
    if (distribution == "multinomial" && shift != 0) out$add_(shift)
  })
}
