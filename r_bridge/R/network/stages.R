# Networks declared as lists of stages, as pyvae derives them from a recipe: what the interpreters
# of base R (base_r/network.R) and of R torch (torch/network.R) have in common.
#
# A stage is list(name, layer, inputs, draw, options, module, shapes): the function `layer` of the
# interpreter's table of the values of the stages `inputs`, which come before it. Its parameters are
# MODULE.weight and MODULE.bias, its buffers MODULE.running_mean and MODULE.running_var. Stages that
# share a module share these. `shapes` are those of one image of each input as the layer takes it,
# in torch's order, c(F) or c(C, H, W); without them a layer takes what the input stage returned.
#
# Stages of layer `input` are given: `input` itself, or what is among the draws under the name
# `draw`.

# The stages by name, with all their fields; known: the names of the layers that there are.
network_stages <- function(stages, known = names(layers)) {
  before <- character()
  stages <- lapply(stages, function(stage) {
    stage$inputs <- as.character(unlist(stage$inputs))
    stage$options <- lapply(stage$options, unlist)                 # vectors may come as lists
    stage$shapes <- lapply(stage$shapes, unlist)
    if (!length(stage$module) || !nzchar(stage$module)) stage$module <- stage$name
    wrong <- function(...) stop("stage '", stage$name, "' ", ..., call. = FALSE)
    if (!stage$layer %in% known) {
      wrong("has layer '", stage$layer, "'; expected one of ",
            paste(sort(known), collapse = ", "))
    }
    missing <- setdiff(stage$inputs, before)
    if (length(missing)) wrong("reads '", missing[1L], "', which is no stage before it")
    if (stage$name %in% before) wrong("is there twice")
    before <<- c(before, stage$name)
    stage
  })
  stats::setNames(stages, before)
}

# The stages that `to` are computed from, themselves included, in order; those with a value
# `given` are computed from nothing.
network_needed <- function(stages, to, given = character()) {
  needed <- to
  unknown <- setdiff(c(to, given), names(stages))
  if (length(unknown)) stop("there is no stage '", unknown[1L], "'")
  for (stage in rev(stages)) {
    if (stage$name %in% needed && !stage$name %in% given) needed <- c(needed, stage$inputs)
  }
  stages[names(stages) %in% needed]
}

network_draw <- function(stage, draws) {
  if (length(stage$draw) && nzchar(stage$draw)) draws[[stage$draw]]
}

network_input <- function(stage, draws) {
  value <- network_draw(stage, draws)
  if (is.null(value)) {
    stop("input '", stage$name, "' was not given; draws are: ",
         paste(names(draws), collapse = ", "))
  }
  value
}
